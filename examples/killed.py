"""Resume a killed fit to the same bits, and a killed stream without losing or repeating a batch."""

import multiprocessing
import tempfile
import warnings
from pathlib import Path

import numpy as np

from streamgmm import Checkpoint, GaussianMixture, load


def rows(seed, n):
    """Draw rows of three overlapping clusters."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 4)) + random.choice([-2.0, 0.0, 2.0], size=(n, 1))


def fit(checkpoint=None):
    """Fit 20 passes of batch EM."""
    warnings.simplefilter("ignore")  # 20 passes are too few to converge
    model = GaussianMixture(6, algorithm="batch", tol=0, max_iter=20, random_state=0, checkpoint=checkpoint)
    return model.fit(lambda: (rows(part, 100_000) for part in range(5)))


def learn(folder, first, stop):
    """Learn some batches of a stream."""
    model = GaussianMixture(3, random_state=0, checkpoint=Checkpoint(folder / "stream.ckpt", batches=4))
    for number in range(first, stop):
        model.partial_fit(rows(number, 500), token=number)
    return model


if __name__ == "__main__":
    folder, spawn = Path(tempfile.mkdtemp()), multiprocessing.get_context("spawn")

    process = spawn.Process(target=fit, args=(Checkpoint(folder / "fit.ckpt", batches=1),))
    process.start()
    while not list(folder.glob("fit.ckpt/gen-*")) or getattr(load(folder / "fit.ckpt"), "n_iter_", 0) < 5:
        process.join(0.01)
    process.kill()
    process.join()
    print(f"killed: the checkpoint holds {load(folder / 'fit.ckpt').n_iter_} of 20 passes")
    same = np.array_equal(fit(Checkpoint(folder / "fit.ckpt")).means_, fit().means_)
    print(f"resumed: the same bits as without interruption: {same}")

    process = spawn.Process(target=learn, args=(folder, 0, 22))
    process.start()
    process.join()
    durable = load(folder / "stream.ckpt").durable_token_
    print(f"22 batches sent; the checkpoint holds those up to {durable}")
    model = learn(folder, 10, 40)  # sent again from any earlier batch
    print(f"{model.n_samples_seen_:,} of {40 * 500:,} rows learnt: each exactly once")
