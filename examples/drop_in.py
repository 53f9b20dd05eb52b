"""Whoever knows scikit-learn's GaussianMixture already knows this one: same names, same numbers, same tools."""

import numpy as np
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture as ScikitLearnMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streamgmm import GaussianMixture

X, species = load_iris(return_X_y=True)

ours = GaussianMixture(n_components=3, random_state=0).fit(X)
theirs = ScikitLearnMixture(n_components=3, random_state=0).fit(X)
print("largest difference of means", f"{np.abs(ours.means_ - theirs.means_).max():.1e}")
print("BIC", round(ours.bic(X), 3), round(theirs.bic(X), 3))

search = GridSearchCV(
    make_pipeline(StandardScaler(), GaussianMixture(random_state=0)),
    {"gaussianmixture__n_components": [1, 2, 3, 4], "gaussianmixture__covariance_type": ["full", "tied", "diag"]},
).fit(X)
print("best by held-out log-likelihood", search.best_params_)

# what scikit-learn's does not take: a weight for each row
weighted = GaussianMixture(n_components=3, random_state=0).fit(X, sample_weight=np.where(species == 0, 2.0, 1.0))
print("weights", weighted.weights_.round(3))
