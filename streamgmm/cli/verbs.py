"""What the verbs do: each takes the parsed arguments and gives an exit code."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from errno import EISDIR, ENOENT
from math import isnan
from os import strerror
from pathlib import Path
from typing import Any

import numpy as np

from streamgmm import GaussianMixture, load
from streamgmm.cli.chunks import chunked
from streamgmm.criteria import Criterion
from streamgmm.errors import InputError
from streamgmm.progress import rows_bar
from streamgmm.results import Record, Stored, model_digest, write


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
    ).fit(given.source)
    model.save(given.output)
    if not given.quiet:
        print(f"{given.output}: {_outcome(model)}")
    return 0


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
        print(f"{output}: {_outcome(model)}")
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


def info(given: Namespace) -> int:
    """Print a model, or a result and whether it is whole."""
    if given.path.is_dir():
        return _describe_result(given.path)
    model = load(given.path)
    settings = ", ".join(
        f"{name}={value!r}" for name, value in model.get_params(deep=False).items() if value is not None
    )
    print(f"{given.path}: {_outcome(model)}")
    print(f"settings: {settings}")
    if not hasattr(model, "means_"):
        return 0
    print(f"digest: {model_digest(model)}")
    if hasattr(model, "restarts_"):
        print(f"start: {model.restarts_}")
    for kind, criterion in model.criteria_.items():
        print(f"{kind} over {criterion.n_samples:,.10g} rows: log-likelihood {criterion.log_likelihood:.10g}", end="")
        if isinstance(criterion, Criterion):
            icl = "" if isnan(criterion.icl) else f", ICL {criterion.icl:.10g}"
            print(f", BIC {criterion.bic:.10g}, AIC {criterion.aic:.10g}{icl}", end="")
            print(f" ({criterion.n_parameters} parameters; lower is better)", end="")
        print()
    print("\nmeans ± standard deviations")
    print(_table(model, shutil.get_terminal_size((120, 24)).columns))
    return 0


def demo(given: Namespace) -> int:
    """Segment the Blue Marble."""
    from streamgmm.cli.demo import demonstrate
    from streamgmm.cli.landscape import blue_marble

    return 0 if demonstrate(blue_marble, given.folder, out=sys.stdout) else 1


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


def _describe_result(path: Path) -> int:
    """Print what a result is of; ResultError unless it is whole."""
    stored = Stored.open(path)
    faults = stored.faults()
    n_chunks, record = len(stored.chunks()), stored.record
    n_missing, n_damaged = (list(faults.values()).count(fault) for fault in ("missing", "damaged"))
    print(f"{path}: {record.kind}, shape {stored.array.shape}, {stored.array.dtype}")
    print(f"model: digest {record.model}, streamgmm {record.streamgmm}")
    print(f"chunks: {n_chunks - n_missing:,} of {n_chunks:,} written, {n_damaged:,} of them damaged")
    stored.check(faults)
    return 0


def _outcome(model: Any) -> str:
    """What a model is, in a line."""
    if not hasattr(model, "means_"):
        return f"not fitted yet; {model.n_samples_seen_:,} rows wait for more to start from"
    passes = f"{model.n_iter_} pass{'es' * (model.n_iter_ != 1)}"
    kind = "exact" if "exact" in model.criteria_ else "bound"
    known = model.criteria_[kind]
    return (
        f"{model.n_components} components ({model.covariance_type}) of {model.n_features_in_} features, "
        f"{model.n_samples_seen_:,} rows seen, {'converged' if model.converged_ else 'not converged'} after {passes}, "
        f"{'log-likelihood' if kind == 'exact' else 'at least'} {known.log_likelihood / known.n_samples:.6g} nats/row"
    )


def _table(model: Any, width: int) -> str:
    """Features as lines, components as columns, by falling weight, in blocks that fit the width."""
    k, d = model.means_.shape
    names = [str(name) for name in getattr(model, "feature_names_in_", [f"feature {column}" for column in range(d)])]
    deviations = np.sqrt(_variances(model))
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


def _variances(model: Any) -> Any:
    """Variance of each feature in each component, shape (k, d)."""
    covariances = model.covariances_
    if model.covariance_type in ("full", "tied"):
        covariances = np.diagonal(covariances, axis1=-2, axis2=-1)
    elif model.covariance_type == "spherical":
        covariances = covariances[:, None]
    return np.broadcast_to(covariances, model.means_.shape)
