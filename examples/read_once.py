"""Fit rows that can be read only once by one pass of stepwise EM, and compare with batch EM over many passes."""

import numpy as np

from streamgmm import GaussianMixture


def batches(seed, n_batches=300, rows=1_000):
    """Yield batches of three overlapping clusters in four dimensions."""
    random = np.random.default_rng(seed)
    means = np.array([[0.0, 0, 0, 0], [2.5, 2.5, 0, 0], [-2.0, 1, 3, 0]])
    for _ in range(n_batches):
        labels = random.choice(3, size=rows, p=[0.5, 0.3, 0.2])
        noise = random.normal(size=(rows, 4)) * np.array([[1.0], [1.3], [0.7]])[labels]
        yield means[labels] + noise


one_pass = GaussianMixture(3, random_state=0).fit(batches(seed=0))
many_passes = GaussianMixture(3, random_state=0, tol=1e-8, max_iter=1000).fit(lambda: batches(seed=0))
held_out = np.concatenate(list(batches(seed=1, n_batches=100)))
print(f"one pass: {one_pass.algorithm_}, {one_pass.n_samples_seen_:,} rows")
print(f"{many_passes.n_iter_} passes: {many_passes.algorithm_}")
print(f"held-out difference {one_pass.score(held_out) - many_passes.score(held_out):+.1e} nats a row")
bound = one_pass.criteria_["bound"]
print(f"log-likelihood of all rows, none of them read again: at least {bound.log_likelihood:,.0f}")
print(f"scored before they were learnt: {one_pass.criteria_['prequential'].mean:.4f} nats a row")
