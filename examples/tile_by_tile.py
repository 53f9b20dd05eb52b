"""Learn and label one image tile after the other, save the model each time, and follow changing light."""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image

from streamgmm import load, segment

photograph = load_sample_image("china.jpg")
file = Path(tempfile.mkdtemp()) / "sky.gmm"


def tile(minute):
    """Return every other row and column of the photograph, darker every minute."""
    random = np.random.default_rng(minute)
    values = photograph[minute % 2 :: 2, minute // 2 % 2 :: 2] * (1 - 0.02 * minute)
    return (values + random.normal(0, 2, values.shape)).clip(0, 255).astype(np.uint8)


segmentation = segment(photograph, 4, random_state=0)  # numbered from dark to bright
segmentation.model.set_params(half_life=100_000)  # pixels
segmentation.save(file)

for minute in range(1, 16):
    model = load(file)
    pixels = tile(minute)
    model.partial_fit(pixels.reshape(-1, 3), token=minute)  # a token is learnt once, even if it is sent again
    labels = segment(pixels, model=model).labels
    model.save(file)
    if minute % 5 == 0:
        shares = np.bincount(labels.ravel(), minlength=5)[1:] / labels.size
        sky = model.means_[-1]
        print(f"minute {minute}: {', '.join(f'{share:5.1%}' for share in shares)}; mean of the sky {sky.round()}")
print(f"{model.n_samples_seen_:,} pixels learnt")
