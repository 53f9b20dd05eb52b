"""The verbs on rows: each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EISDIR, ENOENT
from inspect import signature
from os import strerror
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

import streamgmm
from streamgmm import GaussianMixture, Selection, load, plot
from streamgmm.cli.info import describe_model
from streamgmm.data.sources import LEAF_ROWS, Source, as_source
from streamgmm.data.sources.dask_arrays import from_dask
from streamgmm.data.sources.in_memory import ArraySource
from streamgmm.data.sources.storage import task_rows
from streamgmm.errors import InputError
from streamgmm.estimator.fitted_state import get_parameters as fitted_parameters
from streamgmm.fitting.progress import create_rows_bar
from streamgmm.model.information_criteria import CRITERIA, list_likelihood_criteria
from streamgmm.results.block_writer import write
from streamgmm.results.provenance import Provenance


def fit(arguments: Namespace) -> int:
    """Fit a mixture and save it."""
    check_output(arguments.output, arguments.source)
    model = GaussianMixture(**keyword_arguments(GaussianMixture, arguments))
    with _checkpoint_hint(arguments):
        model.fit(arguments.source)
    model.save(arguments.output)
    if arguments.verbose:
        print(f"{arguments.output}: {describe_model(model)}")
    return 0


def select(arguments: Namespace) -> int:
    """Fit mixtures of several sizes and covariance types, print their criteria, and save the best."""
    check_output(arguments.output, arguments.source)
    figure = None
    if arguments.plot is not None:
        check_output(arguments.plot, arguments.source)
        figure = plot.create_figure()  # fails before the work if matplotlib is missing
    with _checkpoint_hint(arguments):
        selection = streamgmm.select(arguments.source, **keyword_arguments(streamgmm.select, arguments))
    if arguments.verbose:
        print(format_candidates(selection))
    selection.best.save(arguments.output)
    if figure is not None:
        selection.plot(ax=figure.subplots())
        figure.savefig(arguments.plot, dpi=150)
    if arguments.verbose:
        print(f"{arguments.output}: {describe_model(selection.best)}")
        if figure is not None:
            print(f"{arguments.plot}: the criteria by number of components")
    return 0


def update(arguments: Namespace) -> int:
    """Learn rows that have arrived, and save the model."""
    source, output = arguments.source, arguments.output or arguments.model
    check_output(output, source)
    model = load(arguments.model)
    if Path(arguments.model).is_file():
        model.checkpoint = None  # the folder belongs to the fit; the file is the durable copy
    rows_before = model.n_samples_seen_
    if model.has_partition_statistics:
        if arguments.token is not None:
            raise InputError("--token names rows that are all new; this model finds out by itself which of SOURCE are.")
        model.update(source)
        nothing_new = f"{source} has no rows that were not learnt"
    else:
        token = str(Path(source).resolve()) if arguments.token is None else arguments.token
        model.partial_fit(source, token=token)
        nothing_new = f"rows of the name {token} were learnt before; --token gives new ones another name"
    model.save(output)
    if arguments.verbose:
        n_new = model.n_samples_seen_ - rows_before
        print(f"{output}: {f'{n_new:,} rows learnt' if n_new else nothing_new}")
        print(f"{output}: {describe_model(model)}")
    return 0


def predict(arguments: Namespace) -> int:
    """Write labels, responsibilities or log-densities of rows."""
    output = arguments.output
    check_folder(output)
    model = load(arguments.model)
    source = open_lazy_source(arguments.source)
    if arguments.proba:
        kind, result = "responsibilities", model.predict_proba(source)
    elif arguments.log_density:
        kind, result = "log-densities", model.score_samples(source)
    else:
        kind, result = "labels", model.predict(source).astype(np.min_scalar_type(model.n_components))
    parameters = fitted_parameters(model)
    with create_rows_bar(source.n_rows, "predict", shown=arguments.verbose) as bar:
        n_resumed = write(
            result,
            output,
            Provenance.from_source(kind, parameters, source),
            protected=arguments.source,
            overwrite=arguments.overwrite,
            progress=bar.update,
        )
    if arguments.verbose:
        resumed = f"; {n_resumed:,} of them were there already" if n_resumed else ""
        print(f"{output}: {kind} of {len(result):,} rows, {result.dtype}{resumed}")
    return 0


def demo(arguments: Namespace) -> int:
    """Segment the Blue Marble by the code in ``examples/demo``."""
    package = Path(streamgmm.__file__).parent
    sys.path[:0] = [str(package / "examples"), str(package.parent / "examples")]  # in a wheel, in a clone
    from demo.demonstration import demonstrate
    from demo.pixel_features import blue_marble

    return 0 if demonstrate(blue_marble, arguments.folder, out=sys.stdout) else 1


def keyword_arguments(function: Callable[..., Any], arguments: Namespace) -> dict[str, Any]:
    """Return the arguments that are parameters of a function."""
    names = signature(function).parameters
    return {name: value for name, value in vars(arguments).items() if name in names}


def format_candidates(selection: Selection) -> str:
    """Format a selection as a table with one line per candidate; the best is marked."""
    scores = ["heldout", "heldout_error"] if CRITERIA.get(selection.criterion) is CRITERIA["heldout"] else []
    criteria = [criterion.name for criterion in list_likelihood_criteria()]
    lines = [["components", "covariance", *criteria, *scores, "gain, nats/row", "passes", ""]]
    for index, model in enumerate(selection.models):
        row = {name: column[index] for name, column in selection.table.items()}
        state = "dropped" if row["dropped"] else "" if row["converged"] else "not converged"
        state = "degenerate" if model is None else "best" if model is selection.best else state
        values = [*(f"{row[name]:,.1f}" for name in criteria), *(f"{row[name]:,.5f}" for name in scores)]
        gain = "" if np.isnan(row["gain"]) else f"{row['gain']:.5f}"
        lines.append([str(row["n_components"]), str(row["covariance_type"]), *values, gain, str(row["n_iter"]), state])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False)] + line[-1:] for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def open_lazy_source(path: str) -> Source:
    """Return the source of stored rows, chunked for dask also if the rows are memory-mapped."""
    source = as_source(path)
    if not isinstance(source, ArraySource):
        return source
    length = task_rows(source.n_features, source.dtype.itemsize, LEAF_ROWS)
    lazy = da.from_array(_MappedRows(source.rows), (length, -1), name=False, meta=np.empty((0, 0), source.dtype))
    return from_dask(lazy, kind="array")


class _MappedRows:
    """Memory-mapped array without the method ``copy``, with which dask would read all of it."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows
        self.shape, self.dtype, self.ndim = rows.shape, rows.dtype, rows.ndim

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self._rows[key])


@contextmanager
def _checkpoint_hint(arguments: Namespace) -> Iterator[None]:
    """Mention --checkpoint if a command without it is interrupted."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        if arguments.checkpoint is None:
            interruption.add_note("with --checkpoint the same command would resume")
        raise


def check_output(path: Path, source: str) -> None:
    """Raise, before the work, if a file cannot be written or would replace the input."""
    check_folder(path)
    if path.is_dir():
        raise IsADirectoryError(EISDIR, strerror(EISDIR), str(path))
    if path.resolve() == Path(source).resolve():
        raise InputError(f"{path} is the input; save the model somewhere else.")


def check_folder(path: Path) -> None:
    """Raise if the folder of a file does not exist."""
    if not path.parent.is_dir():
        raise FileNotFoundError(ENOENT, strerror(ENOENT), str(path.parent))
