"""What may be typed. It imports nothing that takes long, so that ``--help`` is at once."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

from streamgmm import __version__
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.information_criteria import CRITERIA, DEFAULT_CRITERION

SOURCE = (
    "path to a .zarr array, .npy, .parquet (a file or a folder of them) or .h5/.hdf5 file: rows of numbers, one column "
    "a feature; read chunk by chunk, never whole"
)

EXAMPLES = {
    "": """\
examples:
  streamgmm demo                                   see it work on 15 million pixels
  streamgmm fit pixels.zarr -k 8 -o pixels.gmm     fit 8 components out of core
  streamgmm select pixels.zarr -k 1:12 -o pixels.gmm   how many components?
  streamgmm info pixels.gmm                        what was found
  streamgmm predict pixels.gmm pixels.zarr -o labels.zarr
  streamgmm update pixels.gmm more.zarr            learn what has arrived
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
  streamgmm select large.zarr -k 1:12 --checkpoint choice.ckpt -o large.gmm
""",
    "update": """\
examples:
  streamgmm update log.gmm log.zarr                fitted to it by --algorithm incremental: the rows it has grown by
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
  streamgmm segment B02.tif B03.tif B04.tif -k 6 -o labels.tif        bands of one image, a file each
  streamgmm segment slides/*.svs -k 5 -o labels/{}.tif                one model of all, labels of each
""",
    "info": """\
examples:
  streamgmm info pixels.gmm
  streamgmm info fit.ckpt                          how far it has come, and whether it is valid
  streamgmm info labels.zarr                       is all of it there, and undamaged?
""",
    "demo": """\
examples:
  streamgmm demo
  streamgmm demo --folder results
""",
}


def parser() -> ArgumentParser:
    """All verbs and their options."""
    root = ArgumentParser(
        "streamgmm",
        description="Gaussian mixtures on data that does not fit in memory.",
        epilog=EXAMPLES[""],
        formatter_class=RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"streamgmm {__version__}")
    verbs = root.add_subparsers(title="verbs", metavar="{fit,select,update,predict,segment,info,demo}", required=True)

    def verb(name: str, run: Callable[[Namespace], int], help_text: str, description: str) -> ArgumentParser:
        made = verbs.add_parser(
            name,
            help=help_text,
            description=description,
            epilog=EXAMPLES[name],
            formatter_class=RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    _add_fit(verb)
    _add_select(verb)
    _add_update(verb)
    _add_predict(verb)
    _add_segment(verb)
    info = verb(
        "info",
        _lazily("info"),
        "say what a model, a checkpoint or a result is",
        "Print the settings, criteria and parameters of a model; of a checkpoint, besides, its generations, which of "
        "them are valid, and how far the fit has come; or what a result is of, by which model, and, from a reading of "
        "all of it, whether it is whole: exit code 1 if a chunk is missing or damaged.",
    )
    info.add_argument(
        "path", metavar="PATH", type=Path, help="model or checkpoint that fit wrote, or .zarr that predict wrote"
    )
    demo = verb(
        "demo",
        _lazily("demo"),
        "segment a satellite image, out of core, in a minute",
        "Segment NASA's Blue Marble by 15 features of each of its 14.6 million pixels: 875 MB, in 512 MB of memory.",
    )
    demo.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        default=Path("streamgmm-demo"),
        help="where its files go, about 700 MB (default: %(default)s); those of an earlier demo are replaced",
    )
    return root


def _add_fit(verb: Callable[..., ArgumentParser]) -> None:
    fit = verb("fit", _lazily("fit"), "fit a mixture to stored rows", "Fit a Gaussian mixture by EM, out of core.")
    fit.add_argument("source", metavar="SOURCE", help=SOURCE)
    fit.add_argument("-k", "--components", metavar="K", type=_count, required=True, help="number of components")
    fit.add_argument("-o", "--output", metavar="MODEL", type=Path, required=True, help="file to save the model to")
    fit.add_argument(
        "--covariance",
        choices=tuple(STRUCTURES),
        default="full",
        help="shape of the components (default: %(default)s)",
    )
    fit.add_argument(
        "--algorithm",
        choices=("auto", "batch", "stepwise", "incremental"),
        default="auto",
        help="batch: exact, an update a pass; stepwise: good after one pass; incremental: can be updated when the rows "
        "grow; auto: batch below 1,048,576 rows, else all in turn (default: %(default)s)",
    )
    _add_learning(
        fit,
        "1e-3; with auto, but for little data, until at most 0.1 nats are left to be gained in total, or a hundredth "
        "of a nat a parameter",
    )
    fit.add_argument(
        "--split-merge",
        action="store_true",
        help="once converged, try to make two components one and one two, as long as all rows are explained better",
    )
    _add_checkpoint(fit, "fit")
    fit.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def _add_select(verb: Callable[..., ArgumentParser]) -> None:
    select = verb(
        "select",
        _lazily("select"),
        "choose how many components, and of which shape",
        "Fit mixtures of several sizes and shapes, all from the same readings of SOURCE, print their criteria, and "
        "save the best. Those that cannot win are dropped on the way.",
    )
    purposes = "; ".join(f"{name}, {criterion.purpose}" for name, criterion in CRITERIA.items())
    select.add_argument("source", metavar="SOURCE", help=SOURCE)
    select.add_argument(
        "-k",
        "--components",
        metavar="RANGE",
        type=_sizes,
        default="1:10",
        help="numbers of components to try: 1:12 (12 included), or 2,4,8 (default: %(default)s)",
    )
    select.add_argument(
        "-o", "--output", metavar="MODEL", type=Path, required=True, help="file to save the best model to"
    )
    select.add_argument(
        "--covariance",
        metavar="SHAPES",
        type=_shapes,
        default="full",
        help=f"shapes of the components to try, of {_enumerate(STRUCTURES)}: full,diag (default: %(default)s)",
    )
    select.add_argument(
        "--criterion",
        choices=tuple(CRITERIA),
        default=DEFAULT_CRITERION,
        help=f"what makes a candidate the best; {purposes} (default: %(default)s)",
    )
    select.add_argument(
        "--plot", metavar="PNG", type=_picture, help="picture of the criteria to write (needs matplotlib)"
    )
    select.add_argument(
        "--effective-n",
        metavar="N",
        type=_at_least_one,
        help="independent rows that SOURCE is worth, where these are fewer than it has, as of neighbouring pixels; "
        "information criteria are then of so many",
    )
    _add_checkpoint(select, "selection")
    _add_learning(select, "until at most 0.1 nats are left to be gained in total, or a hundredth of a nat a parameter")
    select.add_argument("--quiet", action="store_true", help="no progress, no table and no summary")


def _add_checkpoint(verb: ArgumentParser, what: str) -> None:
    verb.add_argument(
        "--checkpoint",
        metavar="DIR",
        type=Path,
        help=f"folder to keep the {what} in while it runs; the same command goes on where it was stopped, by whatever",
    )
    verb.add_argument(
        "--resume",
        choices=("auto", "never", "must"),
        default="auto",
        help="whether to go on with what DIR holds: if there is something, not at all, or it is an error that there is "
        "nothing (default: %(default)s)",
    )


def _add_learning(verb: ArgumentParser, default: str) -> None:
    """What fit and select share; ``default`` is that of the tolerance, in words."""
    verb.add_argument(
        "--tol",
        type=_not_negative,
        help=f"stop once a pass gains less than this, nats a row (default: {default})",
    )
    verb.add_argument("--max-iter", metavar="N", type=_count, default=100, help="passes at most (default: %(default)s)")
    verb.add_argument(
        "--n-init",
        metavar="N",
        type=_count,
        default=1,
        help="starts to try; they share every reading (default: %(default)s)",
    )
    verb.add_argument(
        "--init",
        choices=("auto", "split", "kmeans", "k-means++", "random", "random_from_data"),
        default="auto",
        help="how starts are found (default: %(default)s)",
    )
    verb.add_argument("--seed", type=_seed, default=0, help="seed of the starts (default: %(default)s)")
    verb.add_argument(
        "--reg-covar",
        metavar="VARIANCE",
        type=_not_negative,
        default=1e-6,
        help="added to every variance, squared units of the rows (default: %(default)s)",
    )


def _add_update(verb: Callable[..., ArgumentParser]) -> None:
    update = verb(
        "update",
        _lazily("update"),
        "learn rows that have arrived",
        "Learn new rows, in one reading. A model that was fitted with --algorithm incremental takes SOURCE for the "
        "array that it was fitted to, grown at its end, and reads only what is new. Any other model takes all rows of "
        "SOURCE for new, and learns those of one name once.",
    )
    update.add_argument("model", metavar="MODEL", type=Path, help="file that fit wrote")
    update.add_argument("source", metavar="SOURCE", help=SOURCE)
    update.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        help="file to save the model to (default: MODEL, once it is complete)",
    )
    update.add_argument(
        "--token", metavar="NAME", help="name of these rows, where all are new (default: the path of SOURCE)"
    )
    update.add_argument("--quiet", action="store_true", help="no summary")


def _add_predict(verb: Callable[..., ArgumentParser]) -> None:
    predict = verb(
        "predict",
        _lazily("predict"),
        "label stored rows",
        "Write the most probable component of every row, in the smallest unsigned integers that hold them (uint8 up to "
        "255 components). Rows are read and results written chunk by chunk. OUT appears only once it is complete; "
        "until then its name ends in .partial. If it is stopped, by whatever, the same command goes on with a .zarr, "
        "and begins a .npy anew. SOURCE is recognized by its shape, its chunks and some of its rows: remove "
        "OUT.zarr.partial if others of them have changed in between.",
    )
    predict.add_argument("model", metavar="MODEL", type=Path, help="file that fit wrote")
    predict.add_argument("source", metavar="SOURCE", help=SOURCE)
    predict.add_argument("-o", "--output", metavar="OUT", type=_result, required=True, help=".zarr or .npy to write")
    kind = predict.add_mutually_exclusive_group()
    kind.add_argument("--proba", action="store_true", help="write the probability of each component instead")
    kind.add_argument("--log-density", action="store_true", help="write the log-density of each row, nats, instead")
    predict.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    predict.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def _add_segment(verb: Callable[..., ArgumentParser]) -> None:
    segment = verb(
        "segment",
        _lazily("segment"),
        "label the pixels of an image",
        "Segment an image by the values of its pixels, and write labels from 1 to K, 0 for nodata. Up to three bands "
        "of 8 bits, or one of 16, are counted once, and the fit takes no longer for a larger image; so are other "
        "integers that have few values. If it is stopped, by whatever, the same command goes on with OUT; of several "
        "images with --overwrite, since some are complete.",
    )
    segment.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="path to a .zarr (OME-Zarr too), .tif, .svs, .ndpi, .npy, what rasterio opens, .png or .jpg; all but "
        "pictures are read block by block. Several are the bands of one image, if OUT is one; or they are images of "
        "one kind, which get the same segments",
    )
    what = segment.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "-k",
        "--segments",
        metavar="K",
        type=_segments,
        help="number of segments; or numbers to choose from, 2:8 or 4,6,8, or auto, which is 1:10: the smallest from "
        "which the next gains less than 0.01 nats a pixel",
    )
    what.add_argument(
        "--model", metavar="FILE", type=Path, help="label by this model, which --save or fit wrote, and fit none"
    )
    segment.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        required=True,
        help="what to write the labels to: NAME.zarr, NAME.ome.zarr, IMAGE.zarr/labels/NAME, NAME.tif, or NAME.png of "
        "a small image; of several images, a path with {} for the name of each, such as labels/{}.tif, or a folder, in "
        "which they end in .zarr",
    )
    _add_what_is_learnt(segment)
    _add_what_is_written(segment)
    segment.add_argument(
        "--order",
        choices=("brightness", "weight"),
        help="which segment is 1: the darkest, or the largest (default: brightness)",
    )
    segment.add_argument(
        "--covariance",
        choices=tuple(STRUCTURES),
        help="shape of the components (default: full)",
    )
    segment.add_argument("--seed", type=_seed, help="seed of the starts (default: 0)")
    segment.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    segment.add_argument("--quiet", action="store_true", help="no progress bar and no table")


def _add_what_is_learnt(segment: ArgumentParser) -> None:
    """Options of what a pixel is, and which are nodata."""
    segment.add_argument(
        "--axes",
        help="what the axes are, such as YXC or TZYX: time T, planes Z, lines Y, columns X, bands C (default: as they "
        "are for certain)",
    )
    segment.add_argument("--level", metavar="N", type=int, help="resolution of a pyramid, 0 the finest (default: 0)")
    segment.add_argument("--bands", metavar="B,B,…", type=_bands, help="bands to use, counted from 0 (default: all)")
    segment.add_argument("--nodata", metavar="V", type=_number, help="a pixel with this value in a used band has none")
    segment.add_argument("--colour", choices=("lab",), help="learn L*, a* and b* of red, green and blue")
    segment.add_argument(
        "--window",
        metavar="N",
        type=_count,
        help="learn also the mean and the deviation of each band over the N x N pixels around, N odd",
    )
    segment.add_argument(
        "--coordinates",
        metavar="W",
        type=_number,
        help="learn also where a pixel is, the longer side of the image counting as W units of a band",
    )
    segment.add_argument(
        "--scaling", choices=("standard",), help="divide each feature by its deviation over the image before learning"
    )


def _add_what_is_written(segment: ArgumentParser) -> None:
    """Options of what there shall be beside the labels."""
    segment.add_argument(
        "--save",
        metavar="FILE",
        type=Path,
        help="file to save the model to, by which other images get the same segments",
    )
    segment.add_argument(
        "--probabilities",
        choices=("all", "largest"),
        help="write the probability of each segment, or that of the label, beside OUT, to OUT_probabilities.zarr",
    )
    segment.add_argument(
        "--plot",
        metavar="PNG",
        type=_picture,
        help="picture of image, labels and components to write; of several images, a path with {} for the name of "
        "each (needs matplotlib)",
    )


def _lazily(verb: str) -> Callable[[Namespace], int]:
    """Import a verb's module, and with it numba and dask, only to run it."""
    module = "streamgmm.cli.info" if verb == "info" else "streamgmm.cli.verbs"

    def run(given: Namespace) -> int:
        return int(getattr(import_module(module), verb)(given))

    return run


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def _segments(text: str) -> int | str | list[int]:
    return text if text == "auto" else int(text) if text.isdecimal() and int(text) >= 1 else _sizes(text)


def _sizes(text: str) -> list[int]:
    first, colon, last = text.partition(":")
    parts = [first, last] if colon else text.split(",")
    if not all(part.isdecimal() and int(part) >= 1 for part in parts) or (colon and int(last) < int(first)):
        raise ArgumentTypeError(
            f"{text!r} is neither a range of integers of at least 1, such as 1:12, nor a list of them"
        )
    numbers = [int(part) for part in parts]
    return list(range(numbers[0], numbers[1] + 1)) if colon else numbers


def _shapes(text: str) -> list[str]:
    shapes = text.split(",")
    if not set(shapes) <= set(STRUCTURES):
        raise ArgumentTypeError(f"{text!r} is not a list of {_enumerate(STRUCTURES)}, such as full,diag")
    return shapes


def _enumerate(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}"


def _picture(text: str) -> Path:
    if Path(text).suffix.lower() != ".png":
        raise ArgumentTypeError(f"{text!r} does not end in .png")
    return Path(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise ArgumentTypeError(f"{text!r} is not an integer from 0 to 2**32 - 1")
    return int(text)


def _not_negative(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number


def _at_least_one(text: str) -> float:
    number = _not_negative(text)
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return number


def _bands(text: str) -> list[int]:
    bands = text.split(",")
    if not all(band.isdecimal() for band in bands):
        raise ArgumentTypeError(f"{text!r} is not integers from 0 with commas between them")
    return [int(band) for band in bands]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None


def _result(text: str) -> Path:
    if Path(text).suffix.lower() not in (".zarr", ".npy"):
        raise ArgumentTypeError(f"{text!r} ends neither in .zarr nor in .npy")
    return Path(text)
