"""Follow a sensor whose readings drift, forget old rows with a half-life, and measure the drift."""

import numpy as np

from streamgmm import GaussianMixture


def readings(n_hours=200, batch_size=500, seed=0):
    """Yield readings of two clusters; from hour 100 on, one cluster moves by six standard deviations."""
    random = np.random.default_rng(seed)
    for hour in range(n_hours):
        shift = 0.12 * max(0, hour - 100) * 0.5
        idle = random.normal([0.0, 0.0], 1.0, size=(batch_size // 2, 2))
        busy = random.normal([8.0 + shift, 8.0], 1.0, size=(batch_size - batch_size // 2, 2))
        yield hour, random.permutation(np.concatenate([idle, busy]))


model = GaussianMixture(2, half_life=5_000, random_state=0)
for hour, batch in readings():
    model.partial_fit(batch, token=hour)  # a batch that is delivered twice counts once
    if hour % 40 == 39:
        busy = model.means_[model.means_[:, 0].argmax()]
        print(f"hour {hour + 1}: busy readings are at {busy[0]:5.2f}, {busy[1]:.2f}")

history = model.history_.columns()
before, after = history["drift"][10:100].mean(), history["drift"][110:].mean()
effective_rows = model.criteria_["bound"].n_samples
print(f"drift score {before:.1f} before, {after:.1f} while the readings drift")
print(f"{model.n_samples_seen_:,} readings learnt, effective number {effective_rows:,.0f}")
