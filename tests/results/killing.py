"""Predict, killed again and again, at random or amid writing, until it is complete; a program of its own.

It forks processes that have everything imported, and so must have no threads: whatever makes some runs in a child.
"""

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from streamgmm import GaussianMixture, load
from streamgmm.attributes import parameters_of
from streamgmm.cli import main
from streamgmm.covariances import STRUCTURES
from streamgmm.kernels import Kernel
from streamgmm.results import check
from streamgmm.sources import storage

CHUNK, N_CHUNKS, K = 500, 60, 3
LATER = (
    "dask.threaded",
    "distributed",
    "streamgmm.cli.verbs",
    "tqdm.auto",
    "zarr",
)  # imported where they are first used


def forked(function):
    """Process id of a child that calls a function and exits with what it returns."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = function() or 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def prepare(folder):
    import zarr

    draws = np.random.default_rng(0)
    rows = (
        draws.standard_normal((CHUNK * N_CHUNKS - 7, 3)) + 2 * draws.integers(0, K, (CHUNK * N_CHUNKS - 7, 1))
    ).astype("f4")
    stored = zarr.create_array(folder / "rows.zarr", shape=rows.shape, chunks=(CHUNK, 3), dtype=rows.dtype)
    stored[:] = rows
    GaussianMixture(K, random_state=0, max_iter=20, tol=0.1).fit(rows).save(folder / "model")


def digest(path):
    import zarr

    check(path)
    return hashlib.sha256(zarr.open_array(path, mode="r")[:].tobytes()).hexdigest()


def written(out):
    """Number of chunks that are there of a result that was begun."""
    return len(list(out.with_name(out.name + ".partial").glob("c/*")))


def wait(kills, out, draws, uninterrupted):
    """For a random time, or, every second time, until some chunks more are written."""
    last = time.monotonic() + draws.uniform(0, 0.7 * uninterrupted)
    wanted = written(out) + draws.randrange(1, N_CHUNKS // 4)
    if kills % 2:
        last += 60
    while time.monotonic() < last and not (kills % 2 and (written(out) >= wanted or out.exists())):
        time.sleep(0.0005)


def run(folder, n_kills, seed):
    """Kill as often as asked; counts of what happened."""
    for name in LATER:
        importlib.import_module(name)
    storage.TASK_BYTES = CHUNK * 3 * 4
    os.waitpid(forked(lambda: prepare(folder)), 0)
    model = load(folder / "model")
    Kernel.of(parameters_of(model, STRUCTURES["full"])).labels(
        np.zeros((1, 3), np.float32)
    )  # compiled before the forks

    def predict(out):
        return lambda: main(["predict", str(folder / "model"), str(folder / "rows.zarr"), "-o", str(out), "--quiet"])

    begun = time.perf_counter()
    assert os.waitpid(forked(predict(folder / "whole.zarr")), 0)[1] == 0
    uninterrupted = time.perf_counter() - begun
    moments, kills, amid, outs = random.Random(seed), 0, 0, []
    while kills < n_kills:
        out = folder / f"{len(outs)}.zarr"
        outs.append(out)
        while True:
            child = forked(predict(out))
            if kills < n_kills:
                wait(kills, out, moments, uninterrupted)
                os.kill(
                    child, signal.SIGKILL
                )  # one that has ended waits to be asked for its exit code, and is not hurt
            _, status = os.waitpid(child, 0)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            kills += 1
            amid += 0 < written(out) < N_CHUNKS
            assert not out.exists() or len(list(out.glob("c/*"))) == N_CHUNKS
            if out.exists():  # killed after the last step
                break
    # threads may be, now that nothing is forked any more
    whole = digest(folder / "whole.zarr")
    return {
        "kills": kills,
        "amid": amid,
        "results": len(outs),
        "others": sum(digest(out) != whole for out in outs),
        "left": len(list(folder.glob("*.partial"))),
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
