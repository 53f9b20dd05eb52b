"""A sensor whose readings drift: the model follows, forgets with a given half-life, and says how far they moved."""

import numpy as np

from streamgmm import GaussianMixture


def readings(n_hours=200, a_batch=500, seed=0):
    """Two kinds of readings, of which one wanders off by six deviations from the hundredth hour on."""
    random = np.random.default_rng(seed)
    for hour in range(n_hours):
        shift = 0.12 * max(0, hour - 100) * 0.5
        idle = random.normal([0.0, 0.0], 1.0, size=(a_batch // 2, 2))
        busy = random.normal([8.0 + shift, 8.0], 1.0, size=(a_batch - a_batch // 2, 2))
        yield hour, random.permutation(np.concatenate([idle, busy]))


model = GaussianMixture(2, half_life=5_000, random_state=0)
for hour, batch in readings():
    model.partial_fit(batch, token=hour)  # the token makes a batch that is delivered twice count once
    if hour % 40 == 39:
        busy = model.means_[model.means_[:, 0].argmax()]
        print(f"hour {hour + 1}: busy readings lie at {busy[0]:5.2f}, {busy[1]:.2f}")

history = model.history_.columns()
before, after = history["drift"][10:100].mean(), history["drift"][110:].mean()
remembered = model.criteria_["bound"].n_samples
print(f"drift score {before:.1f} before, {after:.1f} while the readings wander")
print(f"{model.n_samples_seen_:,} readings learnt, {remembered:,.0f} of them remembered")
