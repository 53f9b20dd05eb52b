"""Update a model as a file grows, reading new rows only, and withdraw rows that turn out to be wrong."""

import tempfile
from pathlib import Path

import numpy as np
import zarr

from streamgmm import GaussianMixture, load

random = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())


def readings(n, shift=0.0):
    """Draw rows of three overlapping clusters; the last one may be shifted."""
    labels = random.choice(3, size=n, p=[0.5, 0.3, 0.2])
    means = np.array([[0.0, 0.0], [4.0, 1.0], [shift, 5.0]])
    return (means[labels] + random.normal(size=(n, 2))).astype(np.float32)


file = zarr.create_array(folder / "log.zarr", shape=(0, 2), chunks=(10_000, 2), dtype="float32")
file.append(readings(100_000))
model = GaussianMixture(3, algorithm="incremental", random_state=0).fit(file)
model.save(folder / "log.gmm")
print(f"fitted: {model.n_samples_seen_:,} rows")

for day in range(3):  # each day may be a process of its own
    file.append(readings(20_000))
    model = load(folder / "log.gmm").update(folder / "log.zarr")
    model.save(folder / "log.gmm")
    bound = model.criteria_["bound"]
    print(
        f"day {day}: {model.n_samples_seen_:,} rows, at least {bound.log_likelihood / bound.n_samples:.3f} nats a row"
    )


def show(title):
    """Print the mean of the third cluster."""
    highest = model.means_[np.argmax(model.means_[:, 1])]
    print(f"{title}: {model.n_samples_seen_:,} rows, a component at {highest[0]:.2f}, {highest[1]:.2f}")


show("good days")
bad_day = slice(160_000, 200_000)
file.append(readings(40_000, shift=2.0))  # a sensor was displaced
model.update(file)
show("a bad day")
model.withdraw(bad_day, file)
show("withdrawn")
file[bad_day] = readings(40_000)
model.update(file, rows=bad_day)
show("measured again")
