"""What the verbs do: each takes the parsed arguments and gives an exit code."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EISDIR, ENOENT
from os import strerror
from pathlib import Path

import numpy as np

import streamgmm.images
from streamgmm import GaussianMixture, load, plot
from streamgmm.cli.chunks import chunked
from streamgmm.cli.info import outcome
from streamgmm.cli.outputs import for_each, is_for_each, made_folder
from streamgmm.errors import InputError
from streamgmm.fitting.progress import rows_bar
from streamgmm.images.reading import is_band_list
from streamgmm.images.segmentation import Segmentation
from streamgmm.model.information_criteria import likelihood_criteria
from streamgmm.results.block_writer import write
from streamgmm.results.provenance import Record
from streamgmm.selection import selecting
from streamgmm.selection.selection import Selection

SHOWN = ("label", "pixels", "share", "mean")  # of a segment


def fit(given: Namespace) -> int:
    """Fit a mixture and save it."""
    _check_output(given.output, given.source)
    model = GaussianMixture(
        given.components,
        covariance_type=given.covariance,
        tol="auto" if given.tol is None else given.tol,
        reg_covar=given.reg_covar,
        max_iter=given.max_iter,
        n_init=given.n_init,
        init_params=given.init,
        random_state=given.seed,
        verbose=not given.quiet,
        algorithm=given.algorithm,
        split_merge=given.split_merge,
        checkpoint=given.checkpoint,
        resume=given.resume,
    )
    with _telling_of_checkpoints(given):
        model.fit(given.source)
    model.save(given.output)
    if not given.quiet:
        print(f"{given.output}: {outcome(model)}")
    return 0


def select(given: Namespace) -> int:
    """Fit mixtures of several sizes and shapes, say how good they are, and save the best."""
    _check_output(given.output, given.source)
    figure = None
    if given.plot is not None:
        _check_output(given.plot, given.source)
        figure = plot.new_figure()  # before the work, lest matplotlib is missing after it
    with _telling_of_checkpoints(given):
        found = selecting.select(
            given.source,
            given.components,
            given.covariance,
            n_init=given.n_init,
            criterion=given.criterion,
            tol="auto" if given.tol is None else given.tol,
            reg_covar=given.reg_covar,
            max_iter=given.max_iter,
            init_params=given.init,
            random_state=given.seed,
            verbose=not given.quiet,
            effective_n=given.effective_n,
            checkpoint=given.checkpoint,
            resume=given.resume,
        )
    if not given.quiet:
        print(_criteria(found))
    found.best.save(given.output)
    if figure is not None:
        found.plot(ax=figure.subplots())
        figure.savefig(given.plot, dpi=150)
    if not given.quiet:
        print(f"{given.output}: {outcome(found.best)}")
        if given.plot is not None:
            print(f"{given.plot}: the criteria by number of components")
    return 0


def _criteria(found: Selection) -> str:
    """A line a candidate, the best marked."""
    shown = [criterion.name for criterion in likelihood_criteria()]
    scores = ["heldout", "heldout_error"] if found.criterion == "heldout" else []
    names = ["components", "covariance", *shown, *scores, "gain, nats/row", "passes", ""]
    lines = [names]
    for place, model in enumerate(found.models):
        row = {name: column[place] for name, column in found.table.items()}
        state = "dropped" if row["dropped"] else "" if row["converged"] else "not converged"
        state = "degenerate" if model is None else "best" if model is found.best else state
        values = [*(f"{row[name]:,.1f}" for name in shown), *(f"{row[name]:,.5f}" for name in scores)]
        gain = "" if np.isnan(row["gain"]) else f"{row['gain']:.5f}"
        lines.append([str(row["n_components"]), str(row["covariance_type"]), *values, gain, str(row["n_iter"]), state])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False)] + line[-1:] for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def update(given: Namespace) -> int:
    """Learn rows that have arrived, and save the model."""
    output = given.model if given.output is None else given.output
    _check_output(output, given.source)
    model = load(given.model)
    before = model.n_samples_seen_
    if model.keeps_entries:
        if given.token is not None:
            raise InputError("--token names rows that are all new; this model finds out by itself which of SOURCE are.")
        model.update(given.source)
        none = f"{given.source} has no rows that were not learnt"
    else:
        token = str(Path(given.source).resolve()) if given.token is None else given.token
        model.partial_fit(given.source, token=token)
        none = f"rows of the name {token} were learnt before; --token gives new ones another name"
    model.save(output)
    if not given.quiet:
        new = model.n_samples_seen_ - before
        print(f"{output}: {f'{new:,} rows learnt' if new else none}")
        print(f"{output}: {outcome(model)}")
    return 0


def predict(given: Namespace) -> int:
    """Write labels, responsibilities or log-densities of rows."""
    _check_folder(given.output)
    model = load(given.model)
    source = chunked(given.source)
    if given.proba:
        kind, result = "responsibilities", model.predict_proba(source)
    elif given.log_density:
        kind, result = "log-densities", model.score_samples(source)
    else:
        kind, result = "labels", model.predict(source).astype(np.min_scalar_type(model.n_components))
    with rows_bar(source.n_rows, "predict", shown=not given.quiet) as bar:
        there = write(
            result,
            given.output,
            Record.of(kind, model, source),
            protected=given.source,
            overwrite=given.overwrite,
            wrote=bar.update,
        )
    if not given.quiet:
        already = f"; {there:,} of them were there already" if there else ""
        print(f"{given.output}: {kind} of {len(result):,} rows, {result.dtype}{already}")
    return 0


def segment(given: Namespace) -> int:
    """Segment an image, or several by one model, and say what the segments are."""
    several = is_for_each(given.output)
    targets = for_each(given.output, given.images, ".zarr") if several else [given.output]
    sheets = _sheets(given.plot, given.images, several)
    if given.probabilities is not None and targets[0].suffix.lower() != ".zarr":
        raise InputError(f"--probabilities are written beside labels in .zarr, and {targets[0]} is none.")
    if not several and len(given.images) > 1 and not is_band_list(given.images):
        raise InputError(
            f"{len(given.images)} images are given, and {given.output} is for one; pass -o with {{}} for the name of "
            "each, or a folder."
        )
    written = [*targets, *sheets, *([] if given.save is None else [given.save])]
    if len(set(written)) < len(written):
        raise InputError("Labels, pictures and the model cannot go to one path; pass one of its own for each.")
    with made_folder(given.output):
        for path in written[len(targets) :]:
            for image in given.images:
                _check_output(path, image)
        figures = [plot.new_figure() for _ in sheets]  # before the work, lest matplotlib is missing after it
        segmented = _segmented(given, targets if several else given.output)
        if given.save is not None:
            segmented[0].save(given.save)
        for found, sheet, figure in zip(segmented, sheets, figures, strict=bool(sheets)):
            found.plot(figure=figure).savefig(sheet, dpi=100)
        if not given.quiet:
            for place, (found, target) in enumerate(zip(segmented, targets, strict=True)):
                _tell_segments(found, target, sheets[place] if sheets else None, first=place == 0)
    return 0


def _sheets(pattern: Path | None, images: list[str], several: bool) -> list[Path]:
    """Where pictures of the segments go, one for each image."""
    if pattern is None:
        return []
    if not several:
        return [pattern]
    if "{}" not in str(pattern):
        raise InputError(f"--plot {pattern} is one picture; put {{}} into it, where the name of each image goes.")
    return for_each(pattern, images, ".png")


def _segmented(given: Namespace, output: Path | list[Path]) -> list[Segmentation]:
    found = streamgmm.images.segment(
        given.images if isinstance(output, list) or len(given.images) > 1 else given.images[0],
        given.segments,
        output=output,
        overwrite=given.overwrite,
        axes=given.axes,
        level=given.level,
        bands=given.bands,
        nodata=given.nodata,
        colour=given.colour,
        window=given.window,
        coordinates=given.coordinates,
        scaling=given.scaling,
        model=given.model,
        order=given.order,
        covariance_type=given.covariance,
        random_state=0 if given.seed is None and given.model is None else given.seed,
        probabilities=True if given.probabilities == "all" else given.probabilities or False,
        verbose=not given.quiet,
    )
    return found if isinstance(found, list) else [found]


def _tell_segments(found: Segmentation, output: Path, sheet: Path | None, *, first: bool) -> None:
    """What was written of an image, and its segments; of several images what was tried is said once."""
    size = " x ".join(f"{length:,}" for length in reversed(found.labels.shape))
    print(f"{output}: labels of {size} pixels, {found.labels.dtype}")
    if found.probabilities is not None:
        print(f"{found.probabilities.store.root}: probabilities, {found.probabilities.dtype}")
    if sheet is not None:
        print(f"{sheet}: image, labels and components")
    if found.selection is not None and first:
        print(_criteria(found.selection))
    table = found.table
    for label, pixels, share, mean in zip(*(table[name] for name in SHOWN), strict=True):
        print(f"{label:5}  {pixels:15,} pixels  {share:6.1%}  mean {', '.join(f'{value:.4g}' for value in mean)}")


def demo(given: Namespace) -> int:
    """Segment the Blue Marble by the code in ``examples/demo``."""
    package = Path(streamgmm.__file__).parent
    sys.path[:0] = [str(package / "examples"), str(package.parent / "examples")]  # in a wheel, in a clone
    from demo.demonstration import demonstrate
    from demo.pixel_features import blue_marble

    return 0 if demonstrate(blue_marble, given.folder, out=sys.stdout) else 1


@contextmanager
def _telling_of_checkpoints(given: Namespace) -> Iterator[None]:
    """Say of what is interrupted that it could have been kept."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        if given.checkpoint is None:
            interruption.add_note("with --checkpoint it could be gone on with")
        raise


def _check_output(path: Path, source: str) -> None:
    """Fail before the work where a model cannot be written, or must not."""
    _check_folder(path)
    if path.is_dir():
        raise IsADirectoryError(EISDIR, strerror(EISDIR), str(path))
    if path.resolve() == Path(source).resolve():
        raise InputError(f"{path} is the input; save the model somewhere else.")


def _check_folder(path: Path) -> None:
    """Fail before the work, not after it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(ENOENT, strerror(ENOENT), str(path.parent))
