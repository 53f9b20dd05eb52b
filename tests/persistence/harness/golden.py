"""Files as each version has written them, and what they held.

Run as a program, it writes those of `MODELS` that are not there yet. What is there is never written again: a later
version has to read it. Where the format changes, the files of the new one get names of their own.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path

import numpy as np
from resuming import Killed, killed_after

from streamgmm import Checkpoint, GaussianMixture, select

FOLDER = Path(__file__).parent.parent / "golden"
HELD = FOLDER / "held.json"


def rows(n, dtype=np.float64):
    """Two groups of points in the plane."""
    random = np.random.default_rng(0)
    return (random.normal(size=(n, 2)) + 8.0 * (np.arange(n) % 2)[:, None]).astype(dtype)


def batch(covariance_type, dtype=np.float64):
    """Fitted by batch EM."""
    model = GaussianMixture(2, covariance_type=covariance_type, algorithm="batch", random_state=0, tol=1e-6)
    return model.fit(rows(60, dtype))


def multistart():
    """Fitted from many starts."""
    return GaussianMixture(3, random_state=0, tol=0.1).fit(rows(3000))


def incremental():
    """Fitted incrementally, grown, and less a few rows that were withdrawn."""
    model = GaussianMixture(2, algorithm="incremental", batch_size=50, random_state=0, max_iter=200)
    model.fit(rows(400)).update(rows(450))
    return model.withdraw(range(0, 60), rows(450))


def stream(**settings):
    """Learnt batch by batch, with tokens of every kind."""
    model = GaussianMixture(2, covariance_type="diag", random_state=0, batch_size=50, **settings)
    for number, part in enumerate(np.split(rows(400), 4)):
        model.partial_fit(part, token=[number, -(2**63) + 1, "day 3", b"\xff"][number])
    return model


def waiting():
    """Too few rows to start from, of two types, some of them weighted."""
    model = GaussianMixture(5, weights_init=np.full(5, 0.2))
    return model.partial_fit(rows(4)).partial_fit(rows(3)).partial_fit(rows(2, np.float32), sample_weight=[1.0, 2.0])


MODELS = {
    "full": lambda: batch("full"),
    "tied": lambda: batch("tied"),
    "diag": lambda: batch("diag"),
    "spherical-float32": lambda: batch("spherical", np.float32),
    "multistart": multistart,
    "incremental": incremental,
    "stream": stream,
    "stream-half-life": lambda: stream(half_life=100.0),
    "stream-window": lambda: stream(window=2000),
    "waiting": waiting,
}


def selection():
    """Made of four candidates, and learnt on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of passes that are few
        found = select(rows(300), [1, 2], ["full", "diag"], random_state=0, max_iter=5)
    return found.partial_fit(rows(40), token="day 1")


SELECTION = FOLDER / "selection" / "format-1.safetensors"


FITS = {  # what a model is killed in
    "batch": lambda model: model.fit(rows(60)),
    "incremental": lambda model: model.fit(rows(400)),
}
KILLED = {
    "batch": (2, GaussianMixture(2, algorithm="batch", random_state=0, tol=0.0, max_iter=5)),
    "incremental": (4, GaussianMixture(2, algorithm="incremental", batch_size=50, random_state=0, max_iter=3)),
}


def held(model):
    """What a model is, as JSON: floats come back to the bit."""
    arrays = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bounds_")
    numbers = ("converged_", "n_iter_", "lower_bound_", "n_samples_seen_", "algorithm_", "n_features_in_")
    known = [name for name in (*arrays, *numbers) if hasattr(model, name)]
    ledger, tokens, left = model._state.partition_statistics, model._state.tokens, model._state.pending
    settings = {name: value for name, value in model.get_params().items() if value is not None}
    return {
        "settings": {name: np.asarray(value).tolist() for name, value in settings.items()},
        "attributes": {name: np.asarray(getattr(model, name)).tolist() for name in known},
        "dtype": str(model.means_.dtype) if hasattr(model, "means_") else None,
        "criteria": {kind: repr(criterion) for kind, criterion in getattr(model, "criteria_", {}).items()},
        "history": repr(getattr(model, "history_", None)),
        "restarts": repr(getattr(model, "restarts_", None)),
        "entries": None if ledger is None else ledger.accumulated.statistics.sums.tolist(),
        "withdrawn": None if ledger is None else [list(span) for span in ledger.partitions.forgotten.intervals],
        "tokens": [token in tokens for token in (0, 1, 2, -(2**63) + 1, "day 3", b"\xff", "day 4")],
        "waiting": left.as_subsample().rows.tolist() if left.n_rows else None,
    }


def held_selection(found):
    """What a selection is, as JSON."""
    return {
        "models": [held(model) for model in found.models],
        "table": [[name, str(column.dtype), column.tolist()] for name, column in found.table.items()],
        "said": repr(found),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    known = json.loads(HELD.read_text()) if HELD.exists() else {}
    for name, make in MODELS.items():
        path = FOLDER / f"format-1-{name}.safetensors"
        if not path.exists():
            model = make()
            model.save(path)
            known[path.name] = held(model)
            print(path.name, path.stat().st_size)
    for name, (chunk_groups, model) in KILLED.items():
        folder = FOLDER / f"format-1-{name}.ckpt"
        if not folder.exists():
            with contextlib.chdir(FOLDER), killed_after(chunk_groups):  # what is written says where to
                try:
                    FITS[name](model.set_params(checkpoint=Checkpoint(folder.name, batches=1)))
                except Killed:
                    (folder / "LOCK").unlink()
                    for earlier in sorted(folder.glob("gen-*"))[:-1]:
                        earlier.unlink()
            print(folder.name, [path.stat().st_size for path in folder.iterdir()])
    if not SELECTION.exists():
        found = selection()
        found.save(SELECTION)
        SELECTION.with_suffix(".json").write_text(json.dumps(held_selection(found), indent=1) + "\n")
        print(SELECTION.name, SELECTION.stat().st_size)
    HELD.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
