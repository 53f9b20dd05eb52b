"""The verbs of the command line and their options.

Options that set a parameter of the library have its name as destination. Numba, dask and zarr are imported only to run
a verb, so that ``--help`` is fast.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any

from streamgmm import GaussianMixture, __version__, select
from streamgmm.algorithms import ALGORITHMS
from streamgmm.cli import option_types as types
from streamgmm.cli.option_types import enumerate_names, get_default, list_choices
from streamgmm.data.sources.paths import FORMATS as ROW_FORMATS
from streamgmm.images.preprocessing import COLOURS, ORDERS, STANDARD
from streamgmm.images.reading import FORMATS as IMAGE_FORMATS
from streamgmm.images.writers import FORMATS as LABEL_FORMATS
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.information_criteria import CRITERIA

EXAMPLES = {
    "": """\
examples:
  streamgmm demo                                   segment 15 million pixels out of core
  streamgmm fit pixels.zarr -k 8 -o pixels.gmm     fit 8 components
  streamgmm select pixels.zarr -k 1:12 -o pixels.gmm   choose the number of components
  streamgmm info pixels.gmm                        describe the model
  streamgmm predict pixels.gmm pixels.zarr -o labels.zarr
  streamgmm update pixels.gmm more.zarr            learn new rows
  streamgmm segment scan.zarr -k 6 -o labels.zarr  label the pixels of an image
""",
    "fit": """\
examples:
  streamgmm fit pixels.zarr -k 8 -o pixels.gmm
  streamgmm fit log.zarr -k 8 --algorithm incremental -o log.gmm
  streamgmm fit large.zarr -k 8 --checkpoint fit.ckpt -o large.gmm
  streamgmm fit table.parquet -k 20 --covariance diag --n-init 5 -o table.gmm
  streamgmm fit x.npy -k 3 --tol 1e-5 --max-iter 500 --seed 7 --quiet -o x.gmm
""",
    "select": """\
examples:
  streamgmm select pixels.zarr -k 1:12 -o pixels.gmm
  streamgmm select pixels.zarr -k 1:12 --covariance full,diag --plot curve.png -o pixels.gmm
  streamgmm select x.npy -k 2,4,8,16 --criterion icl -o x.gmm
  streamgmm select large.zarr -k 1:12 --checkpoint selection.ckpt -o large.gmm
""",
    "update": """\
examples:
  streamgmm update log.gmm log.zarr                the rows added to it since fit --algorithm incremental
  streamgmm update model.gmm monday.npy            another file: all of its rows, once
  streamgmm update model.gmm latest.npy --token 2026-11-21 -o newer.gmm
""",
    "predict": """\
examples:
  streamgmm predict pixels.gmm pixels.zarr -o labels.zarr
  streamgmm predict pixels.gmm pixels.zarr --proba -o responsibilities.zarr
  streamgmm predict x.gmm new.npy --log-density -o log_density.npy --overwrite
""",
    "segment": """\
examples:
  streamgmm segment scan.zarr -k 6 -o labels.zarr
  streamgmm segment scan.zarr -k auto --plot sheet.png -o labels.zarr
  streamgmm segment scene.zarr -k 8 --axes CYX --bands 3,2,1 --nodata 0 --save scene.gmm -o labels.zarr
  streamgmm segment next.zarr --model scene.gmm --bands 3,2,1 --nodata 0 -o next_labels.zarr
  streamgmm segment B02.tif B03.tif B04.tif -k 6 -o labels.tif        bands of one image, one file each
  streamgmm segment slides/*.svs -k 5 -o labels/{}.tif                one model of all images, labels of each
""",
    "info": """\
examples:
  streamgmm info pixels.gmm
  streamgmm info fit.ckpt                          how far the fit is, and which generations are valid
  streamgmm info labels.zarr                       is the result complete and undamaged?
""",
    "demo": """\
examples:
  streamgmm demo
  streamgmm demo --folder results
""",
}

AddVerb = Callable[[str, str, str], ArgumentParser]

MODULES = {"segment": "streamgmm.cli.image_verb", "info": "streamgmm.cli.info"}  # the other verbs are in verbs.py


def build_parser() -> ArgumentParser:
    """Return the parser of all verbs."""
    parser = ArgumentParser(
        "streamgmm",
        description="Gaussian mixtures on data that does not fit in memory.",
        epilog=EXAMPLES[""],
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"streamgmm {__version__}")
    names = [name for name in EXAMPLES if name]
    verbs = parser.add_subparsers(title="verbs", metavar=f"{{{','.join(names)}}}", required=True)

    def add_verb(name: str, summary: str, description: str) -> ArgumentParser:
        verb = verbs.add_parser(
            name,
            help=summary,
            description=fill(description, 100),
            epilog=EXAMPLES[name],
            formatter_class=RawDescriptionHelpFormatter,
        )
        module = MODULES.get(name, "streamgmm.cli.verbs")
        verb.set_defaults(run=lambda arguments: getattr(import_module(module), name)(arguments))
        return verb

    for add in (_add_fit, _add_select, _add_update, _add_predict, _add_segment, _add_info, _add_demo):
        add(add_verb)
    return parser


def _option(verb: ArgumentParser, usage: str, help_text: str, **options: Any) -> None:
    """Add an option or an argument by its usage, such as ``-o --output MODEL``."""
    words = usage.split()
    flags = [word for word in words if word.startswith("-")]
    if len(words) > len(flags):
        options["metavar"] = words[-1]
    verb.add_argument(*(flags or [words[-1].lower()]), help=help_text, **options)


def _add_fit(add_verb: AddVerb) -> None:
    fit = add_verb("fit", "fit a mixture to stored rows", "Fit a Gaussian mixture by EM, out of core.")
    _add_source(fit)
    sizes = {"dest": "n_components", "type": types.positive_integer, "required": True}
    _option(fit, "-k --components K", "number of components", **sizes)
    _option(fit, "-o --output MODEL", "file of the fitted model", type=Path, required=True)
    _add_covariance(fit, get_default(GaussianMixture, "covariance_type"))
    _option(
        fit,
        "--algorithm",
        "; ".join(f"{name}: {entry.purpose}" for name, entry in ALGORITHMS.items())
        + "; auto: accelerated, and from 1,048,576 rows on stepwise and incremental passes before it "
        "(default: %(default)s)",
        choices=list_choices("algorithm"),
        default=get_default(GaussianMixture, "algorithm"),
    )
    _add_em_options(fit, GaussianMixture)
    split_merge = "after convergence, split and merge components as long as the likelihood of all rows increases"
    _option(fit, "--split-merge", split_merge, action="store_true")
    _add_checkpoint(fit)
    _add_quiet(fit, "progress bar and no summary")


def _add_select(add_verb: AddVerb) -> None:
    verb = add_verb(
        "select",
        "choose the number of components and the covariance type",
        "Fit mixtures of several sizes and covariance types in shared passes over SOURCE, print their criteria, and "
        "save the best. Candidates that cannot win are dropped early.",
    )
    _add_source(verb)
    sizes, families = get_default(select, "n_components"), get_default(select, "covariance_types")
    _option(
        verb,
        "-k --components RANGE",
        f"numbers to try: 1:12, both ends included, or 2,4,8 (default: {sizes[0]}:{sizes[-1]})",
        **{"dest": "n_components", "type": types.sizes, "default": sizes},
    )
    _option(verb, "-o --output MODEL", "file of the best model", type=Path, required=True)
    _option(
        verb,
        "--covariance TYPES",
        f"types to try, of {enumerate_names(STRUCTURES)}, with commas between them (default: {','.join(families)})",
        **{"dest": "covariance_types", "type": types.families, "default": families},
    )
    purposes = "; ".join(f"{name}, {criterion.purpose}" for name, criterion in CRITERIA.items())
    _option(
        verb,
        "--criterion",
        f"what makes a candidate the best: {purposes} (default: %(default)s)",
        choices=list(CRITERIA),
        default=get_default(select, "criterion"),
    )
    _option(verb, "--plot PNG", "picture of the criteria (needs matplotlib)", type=types.picture)
    _option(
        verb,
        "--effective-n N",
        "effective number of independent rows for the information criteria, where it is smaller than the number of "
        "rows, as for neighbouring pixels",
        type=types.at_least_one,
    )
    _add_checkpoint(verb)
    _add_em_options(verb, select)
    _add_quiet(verb, "progress, no table and no summary")


def _add_update(add_verb: AddVerb) -> None:
    update = add_verb(
        "update",
        "learn rows that have arrived",
        "Learn new rows in one pass. A model fitted with --algorithm incremental takes SOURCE as the array it was "
        "fitted to, grown at its end, and reads only the new rows. Any other model takes all rows of SOURCE as new, "
        "and learns rows of one token once.",
    )
    _option(update, "MODEL", "file written by fit or select", type=Path)
    _add_source(update)
    _option(update, "-o --output OUT", "file of the updated model (default: MODEL, once it is complete)", type=Path)
    _option(update, "--token NAME", "name of the rows, where all are new (default: the path of SOURCE)")
    _add_quiet(update, "summary")


def _add_predict(add_verb: AddVerb) -> None:
    predict = add_verb(
        "predict",
        "label stored rows",
        "Write the most probable component of every row, in the smallest unsigned integers that hold them (uint8 up to "
        "255 components). Rows are read and results written chunk by chunk. OUT appears once it is complete; until "
        "then its name ends in .partial. After an interruption or a crash the same command resumes a .zarr and starts "
        "a .npy anew. SOURCE is recognized by its shape, its chunks and some of its rows: delete OUT.zarr.partial if "
        "other rows have changed in between.",
    )
    _option(predict, "MODEL", "file written by fit or select", type=Path)
    _add_source(predict)
    _option(predict, "-o --output OUT", ".zarr or .npy to write", type=types.row_output, required=True)
    kind = predict.add_mutually_exclusive_group()
    kind.add_argument("--proba", action="store_true", help="write the probability of each component instead")
    kind.add_argument("--log-density", action="store_true", help="write the log-density of each row in nats instead")
    _option(predict, "--overwrite", "replace OUT if it exists", action="store_true")
    _add_quiet(predict, "progress bar and no summary")


def _add_segment(add_verb: AddVerb) -> None:
    segment = add_verb(
        "segment",
        "label the pixels of an image",
        "Segment an image by the values of its pixels, and write labels from 1 to K, 0 for nodata. Distinct values of "
        "up to three bands of 8 bits, of one of 16, or of other integers with few values are counted once, and the fit "
        "takes no longer for a larger image. After an interruption or a crash the same command resumes OUT; with "
        "several images add --overwrite, since some outputs are complete.",
    )
    _option(
        segment,
        "IMAGE",
        f"path that ends in {enumerate_names(IMAGE_FORMATS, 'or')}; OME-Zarr and pyramids too. Several paths are the "
        "bands of one image if OUT is one file, else images of one kind that get the same segments",
        nargs="+",
    )
    model = segment.add_mutually_exclusive_group(required=True)
    model.add_argument(
        "-k",
        "--segments",
        dest="n_segments",
        metavar="K",
        type=types.segment_numbers,
        help="number of segments; or numbers to choose from, 2:8 or 4,6,8, or auto for 1:10. The smallest is chosen "
        "from which the next gains less than 0.01 nats a pixel",
    )
    model.add_argument("--model", metavar="FILE", type=Path, help="label by a model that --save or fit wrote")
    _option(
        segment,
        "-o --output OUT",
        f"labels to write, a path that ends in {enumerate_names(LABEL_FORMATS, 'or')}, or IMAGE.zarr/labels/NAME; "
        "of several images a path with {} for the name of each, such as labels/{}.tif, or a folder for .zarr",
        type=Path,
        required=True,
    )
    _add_features(segment)
    _option(segment, "--save FILE", "file of the model, to label other images by it", type=Path)
    _option(
        segment,
        "--probabilities",
        "write the probability of each segment, or of the label alone, beside OUT, to OUT_probabilities.zarr",
        choices=("all", "largest"),
    )
    _option(
        segment,
        "--plot PNG",
        "picture of image, labels and components; of several images a path with {} for the name of each (needs "
        "matplotlib)",
        type=types.picture,
    )
    order = f"segment 1 is the darkest (brightness) or the largest (weight) (default: {ORDERS[0]})"
    _option(segment, "--order", order, choices=ORDERS)
    _add_covariance(segment, None)
    _option(segment, "--seed SEED", "seed of the random draws (default: 0)", dest="random_state", type=types.seed)
    _option(segment, "--overwrite", "replace OUT if it exists", action="store_true")
    _add_quiet(segment, "progress bar and no table")


def _add_features(segment: ArgumentParser) -> None:
    """Add the options that define the features of a pixel and nodata."""
    _option(
        segment,
        "--axes AXES",
        "a letter per axis, such as YXC or TZYX: time T, planes Z, rows Y, columns X, bands C (default: those of the "
        "format)",
    )
    _option(segment, "--level N", "level of a pyramid, 0 the finest (default: 0)", type=int)
    _option(segment, "--bands B,B,…", "bands to use, counted from 0 (default: all)", type=types.bands)
    _option(segment, "--nodata V", "a pixel with this value in a used band is nodata", type=types.number)
    _option(segment, "--colour", "use L*, a* and b* of red, green and blue as features", choices=COLOURS)
    window = "add the mean and standard deviation of each band over N x N pixels as features, N odd"
    _option(segment, "--window N", window, type=types.positive_integer)
    coordinates = "add the coordinates of a pixel as features; the longer side of the image is W units of a band"
    _option(segment, "--coordinates W", coordinates, type=types.number)
    _option(segment, "--scaling", "divide each feature by its standard deviation over the image", choices=(STANDARD,))


def _add_info(add_verb: AddVerb) -> None:
    info = add_verb(
        "info",
        "describe a model, a checkpoint or a result, and verify it",
        "Print the settings, criteria and parameters of a model; of a checkpoint also its generations, which of them "
        "are valid, and how far the fit is; of a result its model and, after reading all of it, whether it is complete "
        "and undamaged: exit code 1 if a chunk is missing or damaged.",
    )
    _option(info, "PATH", "model, checkpoint, or .zarr written by predict", type=Path)


def _add_demo(add_verb: AddVerb) -> None:
    demo = add_verb(
        "demo",
        "segment a satellite image out of core, in a minute",
        "Segment NASA's Blue Marble by 15 features of each of its 14.6 million pixels: 875 MB, in 512 MB of memory.",
    )
    folder = "folder of the files, about 700 MB; those of an earlier demo are replaced (default: %(default)s)"
    _option(demo, "--folder DIR", folder, type=Path, default=Path("streamgmm-demo"))


def _add_source(verb: ArgumentParser) -> None:
    _option(
        verb,
        "SOURCE",
        f"path that ends in {enumerate_names(ROW_FORMATS, 'or')}, or a folder of parquet files: rows of numbers, one "
        "column per feature; read chunk by chunk, never whole",
    )


def _add_quiet(verb: ArgumentParser, silenced: str) -> None:
    _option(verb, "--quiet", f"no {silenced}", dest="verbose", action="store_false")


def _add_covariance(verb: ArgumentParser, default: str | None) -> None:
    help_text = f"covariance type of the components (default: {get_default(GaussianMixture, 'covariance_type')})"
    _option(verb, "--covariance", help_text, dest="covariance_type", choices=list(STRUCTURES), default=default)


def _add_checkpoint(verb: ArgumentParser) -> None:
    folder = "folder of a checkpoint; after an interruption or a crash the same command resumes from it"
    _option(verb, "--checkpoint DIR", folder, type=Path)
    _option(
        verb,
        "--resume",
        "auto: resume if DIR has a checkpoint; never: start anew; must: fail if DIR has none (default: %(default)s)",
        choices=list_choices("resume"),
        default=get_default(GaussianMixture, "resume"),
    )


def _add_em_options(verb: ArgumentParser, function: Callable[..., Any]) -> None:
    """Add the options of EM that fit and select share, with the defaults of a function."""

    def add(usage: str, parameter: str, help_text: str, **options: Any) -> None:
        options = {"default": get_default(function, parameter), "dest": parameter, **options}
        _option(verb, usage, f"{help_text} (default: %(default)s)", **options)

    stopping = (
        "stop if a pass gains less than this, nats a row; auto: 1e-3, or for accelerated EM, stop if at most 0.1 nats, "
        "or 0.01 nats per parameter, remain to be gained in total"
    )
    add("--tol TOL", "tol", stopping, type=types.tolerance)
    add("--max-iter N", "max_iter", "largest number of passes", type=types.positive_integer)
    add("--n-init N", "n_init", "number of starts, which learn in the same passes", type=types.positive_integer)
    add("--init", "init_params", "initialization method", choices=list_choices("init_params"))
    add("--seed SEED", "random_state", "seed of the random draws", type=types.seed, default=0)
    reg_covar = "added to every variance, squared units of the rows"
    add("--reg-covar VARIANCE", "reg_covar", reg_covar, type=types.not_negative)
