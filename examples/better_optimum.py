"""Find a better local optimum by multi-start, the default, and leave a bad start by split and merge moves."""

import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.mixture import GaussianMixture as ScikitLearnMixture

from streamgmm import GaussianMixture

random = np.random.default_rng(0)
pixels = load_sample_image("china.jpg").reshape(-1, 3).astype(float)
pixels = pixels[random.permutation(len(pixels))[:20_000]]

model = GaussianMixture(6, reg_covar=1.0, random_state=0).fit(pixels)
print("streamgmm:", model.restarts_)
print(f"{model.score(pixels):.4f} nats a pixel")
for n_init in (1, 5):
    reference = ScikitLearnMixture(6, reg_covar=1.0, n_init=n_init, random_state=0).fit(pixels)
    print(f"{reference.score(pixels):.4f} scikit-learn's best of {n_init}")

# a bad start: two components on one cluster, and one between the two others
start = {"weights_init": np.ones(3) / 3, "means_init": [[-0.3, 0.0], [0.3, 0.0], [4.0, 4.0]]}
start["precisions_init"] = [np.eye(2)] * 3
rows = np.concatenate([random.normal(size=(1000, 2)) + centre for centre in ([0.0, 0.0], [8.0, 0.0], [0.0, 8.0])])
for split_merge in (False, True):
    model = GaussianMixture(3, split_merge=split_merge, **start).fit(rows)
    moves = [record.stage for record in model.history_ if record.rows == 0]
    print(f"split_merge={split_merge}: {model.score(rows):.4f} nats a row,", moves, model.means_.round(1).tolist())
