"""What a file or a folder is, in words."""

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
from streamgmm.estimator.attributes import parameters_of
from streamgmm.estimator.keeping import CheckpointContents
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import Criterion, HeldOut
from streamgmm.model.information_criteria import likelihood_criteria
from streamgmm.persistence.container import Arrays
from streamgmm.persistence.store import Generation, generations, read_generation
from streamgmm.results.provenance import model_digest
from streamgmm.results.stored_array import StoredArray
from streamgmm.selection.checkpoints import SelectionContents, held_choice
from streamgmm.selection.files import held_parts


def info(given: Namespace) -> int:
    """Print a model, a checkpoint and which of its generations are valid, or a result and whether it is whole."""
    if given.path.is_dir() and not generations(given.path):
        return _describe_result(given.path)
    if given.path.is_dir() and (held := held_choice(given.path)) is not None:
        return _describe_choice(given.path, held)
    if (found := _selection_at(given.path)) is not None:
        return _describe_selection(given.path, found)
    model = load(given.path)
    settings = ", ".join(
        f"{name}={value!r}" for name, value in model.get_params(deep=False).items() if value is not None
    )
    print(f"{given.path}: {outcome(model)}")
    if given.path.is_dir():
        _describe_checkpoint(given.path)
    print(f"settings: {settings}")
    if not hasattr(model, "means_"):
        return 0
    print(f"digest: {model_digest(model)}")
    if hasattr(model, "restarts_"):
        print(f"start: {model.restarts_}")
    for kind, criterion in model.criteria_.items():
        print(f"{kind} over {criterion.n_samples:,.10g} rows: log-likelihood {criterion.log_likelihood:.10g}", end="")
        if isinstance(criterion, Criterion):
            for entry in likelihood_criteria():
                value = criterion.value(entry.name)
                print("" if isnan(value) else f", {entry.label} {value:.10g}", end="")
            print(f" ({criterion.n_parameters} parameters; lower is better)", end="")
        elif isinstance(criterion, HeldOut):
            print(f", {criterion.mean:.10g} ± {criterion.standard_error:.2g} nats/row", end="")
        print()
    print("\nmeans ± standard deviations")
    print(_table(model, shutil.get_terminal_size((120, 24)).columns))
    return 0


def _describe_checkpoint(folder: Path) -> None:
    """Print the generations, which of them are valid, and where the newest of those has come to."""

    def place(held: CheckpointContents[GaussianMixture]) -> str:
        token = getattr(held.model, "durable_token_", None)
        ended = "a fit that has ended" if held.task is not None else "a stream"
        where = ended if held.fit_state is None else f"a fit, {held.fit_state.place}"
        return where + ("" if token is None else f"; the latest token whose rows it holds is {token!r}")

    _describe_generations(folder, lambda *found: place(CheckpointContents.of(GaussianMixture, folder, *found)))


def _selection_at(path: Path) -> Selection | None:
    """A selection that was made, in a file or a checkpoint; None where it is something else."""
    try:
        return Selection.load(path)
    except CheckpointMismatch:
        return None


def _describe_selection(path: Path, found: Selection) -> int:
    """Print what was chosen, and what a checkpoint holds."""
    print(f"{path}: {found!r}")
    if path.is_dir():
        _describe_generations(path, lambda *generation: repr(Selection(**_made(path, *generation))))
    print(f"best: {outcome(found.best)}")
    return 0


def _made(folder: Path, *generation: Any) -> dict[str, Any]:
    parts = held_parts(folder, *generation)
    return {name: parts[name] for name in ("best", "table", "criterion", "models", "worth")}


def _describe_choice(folder: Path, held: SelectionContents) -> int:
    """Print what is chosen from, and how far that has come."""
    sizes = ", ".join(str(size) for size in held.settings["n_components"])
    families = ", ".join(held.settings["covariance_types"])
    print(f"{folder}: a selection by {held.settings['criterion']} among {sizes} components ({families})")
    _describe_generations(folder, lambda *found: f"a selection, {SelectionContents.of(folder, *found).choice.place}")
    settings = {name: value for name, value in held.settings.items() if value is not None}
    print("settings: " + ", ".join(f"{name}={value!r}" for name, value in settings.items()))
    return 0


def _describe_generations(folder: Path, place: Callable[[Generation, dict[str, Any], Arrays], str]) -> None:
    """Print which generations are valid, and where the newest of those has come to."""
    described = False
    for generation in generations(folder):
        line = f"generation {generation.number:,}"
        try:
            status = (folder / generation.name).stat()
            where = place(generation, *read_generation(folder, generation))
        except CheckpointError as error:
            print(f"{line}: not valid. {error}")
            continue
        written = datetime.fromtimestamp(status.st_mtime)
        print(f"{line}: valid, {status.st_size:,} bytes, {written:%Y-%m-%d %H:%M:%S}")
        if not described:
            print(f"  {where}")
            described = True


def _describe_result(path: Path) -> int:
    """Print what a result is of; ResultError unless it is whole."""
    stored = StoredArray.open(path)
    faults = stored.faults()
    n_blocks, record = len(stored.blocks()), stored.record
    what = "chunks" if stored.array.shards is None else "shards"
    n_missing, n_damaged = (list(faults.values()).count(fault) for fault in ("missing", "damaged"))
    print(f"{path}: {record.kind}, shape {stored.array.shape}, {stored.array.dtype}")
    print(f"model: digest {record.model}, streamgmm {record.streamgmm}")
    print(f"{what}: {n_blocks - n_missing:,} of {n_blocks:,} written, {n_damaged:,} of them damaged")
    stored.check(faults)
    return 0


def outcome(model: Any) -> str:
    """What a model is, in a line."""
    if not hasattr(model, "means_"):
        waiting = getattr(model, "n_samples_seen_", 0)
        return "not fitted yet" + (f"; {waiting:,} rows wait for more to start from" if waiting else "")
    passes = f"{model.n_iter_} pass{'es' * (model.n_iter_ != 1)}"
    known = [(kind, model.criteria_[kind]) for kind in ("exact", "bound") if kind in model.criteria_]
    likelihood = [
        f", {'log-likelihood' if kind == 'exact' else 'at least'} {one.log_likelihood / one.n_samples:.6g} nats/row"
        for kind, one in known
    ]
    return (
        f"{model.n_components} components ({model.covariance_type}) of {model.n_features_in_} features, "
        f"{model.n_samples_seen_:,} rows seen, {'converged' if model.converged_ else 'not converged'} after {passes}"
        + "".join(likelihood[:1])
    )


def _table(model: Any, width: int) -> str:
    """Features as lines, components as columns, by falling weight, in blocks that fit the width."""
    k, d = model.means_.shape
    names = [str(name) for name in getattr(model, "feature_names_in_", [f"feature {column}" for column in range(d)])]
    deviations = np.sqrt(parameters_of(model, STRUCTURES[model.covariance_type]).variances())
    order = np.argsort(-model.weights_, kind="stable")
    columns = [
        [f"component {c}", f"{model.weights_[c]:.2%}"]
        + [f"{mean:.4g} ± {sd:.3g}" for mean, sd in zip(model.means_[c], deviations[c], strict=True)]
        for c in order
    ]
    margin = ["", "weight", *names]
    size = max(len(cell) for column in columns for cell in column) + 2
    indent = max(len(cell) for cell in margin)
    per_block = max(1, (width - indent) // size)
    return "\n\n".join(
        "\n".join(
            margin[line].ljust(indent)
            + "".join(column[line].rjust(size) for column in columns[first : first + per_block])
            for line in range(d + 2)
        )
        for first in range(0, k, per_block)
    )
