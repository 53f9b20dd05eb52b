"""Fit rows that a function yields batch by batch, such as a database, a folder of files or a simulation."""

from collections.abc import Iterator

import numpy as np

from streamgmm import GaussianMixture


def days() -> Iterator[np.ndarray]:
    """Yield the readings of two sensors, one array per day; each pass calls this function again."""
    for day in range(30):
        random = np.random.default_rng(day)
        n_readings = random.integers(2_000, 6_000)
        night = random.random(n_readings) < 0.4
        level = np.where(night, 12.0, 21.0)
        yield np.column_stack([level + random.normal(size=n_readings), 0.5 * level + random.normal(size=n_readings)])


model = GaussianMixture(n_components=2, random_state=0).fit(days)
print("means", model.means_.round(2).tolist())
print("rows", model.n_samples_seen_)
print("labels of the first day", np.bincount(next(model.predict(days))))
