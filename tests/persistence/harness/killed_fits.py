"""Real fits in real processes, ended by SIGKILL at random times until each has come to its end.

``python tests/persistence/harness/killed_fits.py 1000`` prints how many kills there were, and what was lost: nothing.

A process that has imported and compiled everything, and has started no thread, forks one child after the other; each
fits until it is killed, and tells every generation that was acknowledged through a pipe.
"""

import hashlib
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

N_FEATURES, BATCH = 3, 1_500


def batches():
    """One pass over the rows: 60 batches, each made anew."""
    for number in range(60):
        random = np.random.default_rng(number)
        yield random.normal(size=(BATCH, N_FEATURES)) + random.choice([-4.0, 0.0, 4.0], size=(BATCH, 1))


SETTINGS = (  # most kills come in the first pass where there is but one
    {"algorithm": "stepwise", "max_iter": 1, "batch_size": 1_000},
    {"algorithm": "batch", "max_iter": 2, "tol": 0.0, "covariance_type": "diag"},
    {"algorithm": "stepwise", "max_iter": 1, "batch_size": 1_000, "half_life": 20_000.0, "covariance_type": "tied"},
)
COMMON = {"n_components": 3, "random_state": 0, "init_params": "random_from_data", "n_init": 2}


def fit(folder, settings, acknowledged=None):
    from streamgmm import Checkpoint, GaussianMixture
    from streamgmm.persistence.writer import CheckpointWriter

    if acknowledged is not None:
        write = CheckpointWriter.write

        def written(self, *content):
            generation = write(self, *content)
            acknowledged(generation.number)
            return generation

        CheckpointWriter.write = written
    checkpoint = None if folder is None else Checkpoint(folder, batches=1)
    return GaussianMixture(checkpoint=checkpoint, **COMMON, **settings).fit(batches)


def digest(model):
    from streamgmm.estimator.saved_model import SavedModel
    from streamgmm.persistence.container import to_bytes
    from streamgmm.persistence.session import encode_content

    return hashlib.sha256(
        to_bytes(*encode_content(SavedModel.from_model(model.set_params(checkpoint=None))))
    ).hexdigest()


def child(work):
    """A process that does some work, and the pipe through which it says what of it."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                work(lambda *said: os.write(writing, (" ".join(map(str, said)) + "\n").encode()))
            os._exit(0)
        except BaseException as error:
            os.write(writing, f"error {type(error).__name__}: {error}\n".encode())
            os._exit(1)
    os.close(writing)
    return process, reading


def said(reading):
    """All that a child that has ended has said."""
    with os.fdopen(reading) as pipe:
        return [line.split(" ", 1) for line in pipe.read().splitlines()]


def whole(settings):
    """Digest of the fit that nothing happens to, and the seconds that it takes."""
    begun = time.monotonic()
    process, reading = child(lambda say: say("digest", digest(fit(None, settings))))
    os.waitpid(process, 0)
    ((_, found),) = said(reading)
    return found, time.monotonic() - begun


def look(folder, say):
    """What the newest valid generation holds, without a lock."""
    from streamgmm.persistence.session import load_saved
    from streamgmm.persistence.store import generations

    if generations(folder):
        saved = load_saved(folder)
        progress = saved.content.progress
        say("newest", saved.number)
        say("place", "ended" if progress is None else progress.describe().split(",")[0])


def run(kills, seed=0):
    """Counts of what happened."""
    draws, counts = random.Random(seed), Counter()
    warm = next(batches())
    from streamgmm.kernels.e_step import expect
    from streamgmm.model.covariances import STRUCTURES
    from streamgmm.model.em import make_parameters

    for structure in STRUCTURES.values():  # compiled before the fork, on this thread
        shape = structure.shape(3, N_FEATURES)
        own = np.broadcast_to(np.eye(N_FEATURES), shape) if len(shape) == 3 else np.ones(shape)
        parameters = make_parameters(np.full(3, 1 / 3), warm[:3], np.array(own), structure)
        expect(warm, parameters), expect(warm, parameters, parameters)
    expected = [whole(settings) for settings in SETTINGS]
    turn = 0
    while counts["kills"] < kills:
        settings, (right, seconds) = SETTINGS[turn % len(SETTINGS)], expected[turn % len(SETTINGS)]
        turn += 1
        with tempfile.TemporaryDirectory() as scratch:
            folder, acknowledged = Path(scratch) / "fit.ckpt", 0
            while True:

                def work(say, folder=folder, settings=settings):
                    model = fit(folder, settings, lambda number: say("acknowledged", number))
                    say("digest", digest(model))

                process, reading = child(work)
                lived = draws.uniform(0.0, 1.3 * seconds)
                time.sleep(lived)
                ended, status = os.waitpid(process, os.WNOHANG)
                if not ended:
                    os.kill(process, signal.SIGKILL)
                    _, status = os.waitpid(process, 0)
                told = said(reading)
                for kind, what in told:
                    if kind == "acknowledged":
                        acknowledged = max(acknowledged, int(what))
                    if kind == "error":
                        counts["errors"] += 1
                        print("error", what, file=sys.stderr)
                if os.WIFSIGNALED(status):
                    counts["kills"] += 1
                    process, reading = child(lambda say, folder=folder: look(folder, say) if folder.is_dir() else None)
                    os.waitpid(process, 0)
                    found = dict(line for line in said(reading))
                    counts["bad loads"] += "error" in found
                    counts["lost"] += int(found.get("newest", 0)) < acknowledged
                    counts[f"killed {found.get('place', 'before the first generation')}"] += 1
                    continue
                digests = [what for kind, what in told if kind == "digest"]
                counts["fits"] += 1
                counts["other bits"] += digests != [right]
                counts["drafts left"] += sum(path.name.startswith(".tmp-") for path in folder.iterdir())
                break
    return counts


if __name__ == "__main__":
    found = run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
    for name, number in sorted(found.items()):
        print(f"{number:6,} {name}")
    sys.exit(
        bool(found["lost"] or found["bad loads"] or found["other bits"] or found["errors"] or found["drafts left"])
    )
