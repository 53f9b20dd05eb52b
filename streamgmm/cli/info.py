"""The verb info: describe a model, a selection, a checkpoint or a result."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Callable
from datetime import datetime
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from streamgmm import GaussianMixture, Selection, load
from streamgmm.errors import CheckpointError, CheckpointMismatch
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.estimator.model_checkpoint import ModelGeneration
from streamgmm.model.criteria import Criterion, HeldOut
from streamgmm.model.information_criteria import list_likelihood_criteria
from streamgmm.persistence.session import SavedContent, read_generation_content
from streamgmm.persistence.store import generations, read_generation
from streamgmm.results.provenance import digest_parameters
from streamgmm.results.stored_array import StoredArray
from streamgmm.selection.saved_selection import SelectionGeneration, load_running_selection


def info(arguments: Namespace) -> int:
    """Print what is stored at a path; ResultError if it is a result that is not complete and undamaged."""
    path = arguments.path
    is_checkpoint = path.is_dir() and bool(generations(path))
    if path.is_dir() and not is_checkpoint:
        _print_result(path)
    elif is_checkpoint and (content := load_running_selection(path)) is not None:
        _print_running_selection(path, content)
    else:
        try:
            _print_selection(path, Selection.load(path), is_checkpoint)
        except CheckpointMismatch:
            _print_model(path, load(path), is_checkpoint)
    return 0


def describe_model(model: Any) -> str:
    """Return one line about a model."""
    if not hasattr(model, "means_"):
        n_pending = getattr(model, "n_samples_seen_", 0)
        return "not fitted yet" + (f"; {n_pending:,} rows wait for more to start from" if n_pending else "")
    passes = f"{model.n_iter_} pass{'es' * (model.n_iter_ != 1)}"
    likelihood = ""
    for kind, name in (("bound", "at least"), ("exact", "log-likelihood")):
        if kind in model.criteria_:
            criterion = model.criteria_[kind]
            likelihood = f", {name} {criterion.log_likelihood / criterion.n_samples:.6g} nats/row"
    return (
        f"{model.n_components} components ({model.covariance_type}) of {model.n_features_in_} features, "
        f"{model.n_samples_seen_:,} rows seen, {'converged' if model.converged_ else 'not converged'} after {passes}"
        f"{likelihood}"
    )


def _print_model(path: Path, model: GaussianMixture, is_checkpoint: bool) -> None:
    print(f"{path}: {describe_model(model)}")
    if is_checkpoint:
        _print_generations(path, lambda saved: _describe_fit(saved.content))
    print(f"settings: {_format_settings(model.get_params(deep=False))}")
    if not hasattr(model, "means_"):
        return
    print(f"digest: {digest_parameters(get_parameters(model))}")
    if hasattr(model, "restarts_"):
        print(f"start: {model.restarts_}")
    for kind, criterion in model.criteria_.items():
        print(f"{kind} over {criterion.n_samples:,.10g} rows: {_format_criterion(criterion)}")
    print("\nmeans ± standard deviations")
    print(_format_components(model, shutil.get_terminal_size((120, 24)).columns))


def _describe_fit(content: ModelGeneration) -> str:
    ended = "a stream" if content.task is None else "a fit that has ended"
    position = ended if content.progress is None else f"a fit, {content.progress.describe()}"
    return position + ("" if content.token is None else f"; the latest token whose rows it holds is {content.token!r}")


def _print_selection(path: Path, selection: Selection, is_checkpoint: bool) -> None:
    print(f"{path}: {selection!r}")
    if is_checkpoint:
        _print_generations(path, lambda saved: repr(Selection(**saved.content.arguments())))
    print(f"best: {describe_model(selection.best)}")


def _print_running_selection(folder: Path, content: SelectionGeneration) -> None:
    sizes = ", ".join(str(size) for size in content.settings["n_components"])
    families = ", ".join(content.settings["covariance_types"])
    print(f"{folder}: a selection by {content.settings['criterion']} among {sizes} components ({families})")
    _print_generations(folder, lambda saved: f"a selection, {saved.content.progress.describe()}")
    print(f"settings: {_format_settings(content.settings)}")


def _print_generations(folder: Path, describe: Callable[[SavedContent], str]) -> None:
    """Print which generations are valid, and a description of the newest of these."""
    is_described = False
    for generation in generations(folder):
        line = f"generation {generation.number:,}"
        try:
            status = (folder / generation.name).stat()
            saved = read_generation_content(folder, generation, *read_generation(folder, generation))
        except CheckpointError as error:
            print(f"{line}: not valid. {error}")
            continue
        print(f"{line}: valid, {status.st_size:,} bytes, {datetime.fromtimestamp(status.st_mtime):%Y-%m-%d %H:%M:%S}")
        if not is_described:
            print(f"  {describe(saved)}")
            is_described = True


def _print_result(path: Path) -> None:
    stored = StoredArray.open(path)
    bad_blocks = stored.find_bad_blocks()
    n_blocks, provenance = len(stored.blocks()), stored.provenance
    unit = "chunks" if stored.array.shards is None else "shards"
    n_missing, n_damaged = (list(bad_blocks.values()).count(fault) for fault in ("missing", "damaged"))
    print(f"{path}: {provenance.kind}, shape {stored.array.shape}, {stored.array.dtype}")
    print(f"model: digest {provenance.model}, streamgmm {provenance.streamgmm}")
    print(f"{unit}: {n_blocks - n_missing:,} of {n_blocks:,} written, {n_damaged:,} of them damaged")
    stored.check(bad_blocks)


def _format_settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)


def _format_criterion(criterion: Any) -> str:
    text = f"log-likelihood {criterion.log_likelihood:.10g}"
    if isinstance(criterion, Criterion):
        values = {entry.label: criterion.value(entry.name) for entry in list_likelihood_criteria()}
        text += "".join(f", {label} {value:.10g}" for label, value in values.items() if not isnan(value))
        text += f" ({criterion.n_parameters} parameters; lower is better)"
    elif isinstance(criterion, HeldOut):
        text += f", {criterion.mean:.10g} ± {criterion.standard_error:.2g} nats/row"
    return text


def _format_components(model: Any, width: int) -> str:
    """Format a table with features as lines and components as columns, by falling weight, in blocks of a width."""
    k, d = model.means_.shape
    names = [str(name) for name in getattr(model, "feature_names_in_", [f"feature {index}" for index in range(d)])]
    deviations = np.sqrt(get_parameters(model).variances())
    columns = [
        [f"component {c}", f"{model.weights_[c]:.2%}"]
        + [f"{mean:.4g} ± {deviation:.3g}" for mean, deviation in zip(model.means_[c], deviations[c], strict=True)]
        for c in np.argsort(-model.weights_, kind="stable")
    ]
    margin = ["", "weight", *names]
    column_width = max(len(cell) for column in columns for cell in column) + 2
    indent = max(len(cell) for cell in margin)
    per_block = max(1, (width - indent) // column_width)
    blocks = []
    for first in range(0, k, per_block):
        rows = zip(margin, *columns[first : first + per_block], strict=True)
        blocks.append(
            "\n".join(name.ljust(indent) + "".join(c.rjust(column_width) for c in cells) for name, *cells in rows)
        )
    return "\n\n".join(blocks)
