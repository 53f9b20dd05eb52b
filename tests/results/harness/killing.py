"""Program that kills predict and segment at random moments or during writing, until their results are complete.

It forks processes that have imported everything, so it must have no threads: children run all code that starts some.
"""

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamgmm import GaussianMixture, load
from streamgmm.cli import main
from streamgmm.data.sources import storage
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.images import image, segmentation_job
from streamgmm.kernels.kernel import Kernel
from streamgmm.results.stored_array import check

CHUNK, N_CHUNKS, K = 500, 60, 3
BLOCK, ACROSS, DOWN = 32, 12, 5  # sides of a block of the image, and how many there are
LATER = ("dask.threaded", "distributed", "streamgmm.cli.verbs", "tqdm.auto", "zarr")  # otherwise imported on first use


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

    draws, n_rows = np.random.default_rng(0), CHUNK * N_CHUNKS - 7
    rows = (draws.standard_normal((n_rows, 3)) + 2 * draws.integers(0, K, (n_rows, 1))).astype("f4")
    stored = zarr.create_array(folder / "rows.zarr", shape=rows.shape, chunks=(CHUNK, 3), dtype=rows.dtype)
    stored[:] = rows
    GaussianMixture(K, random_state=0, max_iter=20, tol=0.1).fit(rows).save(folder / "model")
    shape = (BLOCK * DOWN - 5, BLOCK * ACROSS - 9, 3)
    stored = zarr.create_array(folder / "image.zarr", shape=shape, chunks=(BLOCK, BLOCK, 3), dtype="f4")
    stored[:] = draws.standard_normal(shape) + 2 * draws.integers(0, K, shape)


def digest(path):
    import zarr

    check(path)
    return hashlib.sha256(zarr.open_array(path, mode="r")[:].tobytes()).hexdigest()


def n_files(path):
    """Blocks that are there, besides what a write that was killed may have left."""
    return sum(name.isdecimal() for _, _, names in os.walk(path / "c") for name in names)  # it may vanish meanwhile


def wait_for_writing(child, partial):
    """Until there is a block more than there was, or the child has ended."""
    before = n_files(partial)
    while n_files(partial) <= before and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.001)


def run(folder, n_kills, seed):
    """Kill each as often as asked; counts of what happened."""
    for name in LATER:
        importlib.import_module(name)
    storage.TASK_BYTES = CHUNK * 3 * 4
    image.TASK_BYTES = BLOCK * BLOCK * 3 * 4
    segmentation_job.LIMITS = replace(segmentation_job.LIMITS, label_tile=BLOCK // 2)  # so that a block is a shard
    os.waitpid(forked(lambda: prepare(folder)), 0)
    model = load(folder / "model")
    Kernel.from_parameters(get_parameters(model)).labels(np.zeros((1, 3), np.float32))  # compiled before the forks
    counted = {what: killed(folder, what, n_kills, seed) for what in ("predict", "segment")}
    # threads may be, now that nothing is forked any more
    for what, (counts, outs) in counted.items():
        whole = digest(folder / what / "whole.zarr")
        counts["others"] = sum(digest(out) != whole for out in outs)
    return {what: counts for what, (counts, _) in counted.items()}


def killed(folder, what, n_kills, seed):
    """Counts of the kills of one of the two, and the results that were complete in the end."""
    given = {
        "predict": ["predict", str(folder / "model"), str(folder / "rows.zarr")],
        "segment": ["segment", str(folder / "image.zarr"), "--model", str(folder / "model"), "--axes", "YXC"],
    }[what]
    n_blocks = {"predict": N_CHUNKS, "segment": ACROSS * DOWN}[what]
    folder = folder / what
    folder.mkdir()

    def predict(out):
        return lambda: main([*given, "-o", str(out), "--quiet"])

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
                if kills % 2:  # at any moment; every other time once it has begun to write, however long that takes
                    time.sleep(moments.uniform(0, 0.7 * uninterrupted))
                else:
                    wait_for_writing(child, out.with_name(out.name + ".partial"))
                    time.sleep(moments.uniform(0, 0.05 * uninterrupted))
                os.kill(child, signal.SIGKILL)  # harmless if it has ended, since its exit code was not read yet
            _, status = os.waitpid(child, 0)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            kills += 1
            amid += 0 < n_files(out.with_name(out.name + ".partial")) < n_blocks
            assert not out.exists() or n_files(out) == n_blocks
            if out.exists():  # killed after the last step
                break
    return {"kills": kills, "amid": amid, "results": len(outs), "left": len(list(folder.glob("*.partial")))}, outs


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
