"""Rows that can be read only once: one pass of stepwise EM, beside batch EM that may read them fifty times."""

import numpy as np

from streamgmm import GaussianMixture


def batches(seed, n_batches=300, rows=1_000):
    """Three overlapping clusters in four dimensions; the last of them is long and thin."""
    random = np.random.default_rng(seed)
    means = np.array([[0.0, 0, 0, 0], [2.5, 2.5, 0, 0], [-2.0, 1, 3, 0]])
    for _ in range(n_batches):
        labels = random.choice(3, size=rows, p=[0.5, 0.3, 0.2])
        noise = random.normal(size=(rows, 4)) * np.array([[1.0], [1.3], [0.7]])[labels]
        yield means[labels] + noise


once = GaussianMixture(3, random_state=0).fit(batches(seed=0))
often = GaussianMixture(3, random_state=0, tol=1e-8, max_iter=1000).fit(lambda: batches(seed=0))
held_out = np.concatenate(list(batches(seed=1, n_batches=100)))
print(f"one reading: {once.algorithm_}, {once.n_samples_seen_:,} rows")
print(f"{often.n_iter_} readings: {often.algorithm_}")
print(f"held-out difference {once.score(held_out) - often.score(held_out):+.1e} nats a row")
bound = once.criteria_["bound"]
print(f"log-likelihood of all rows, none of them read again: at least {bound.log_likelihood:,.0f}")
print(f"scored before they were learnt: {once.criteria_['prequential'].mean:.4f} nats a row")
