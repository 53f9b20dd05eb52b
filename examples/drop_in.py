"""Use GaussianMixture as scikit-learn's: the same names, the same numbers, and the same tools around it."""

import numpy as np
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture as ScikitLearnMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streamgmm import GaussianMixture

X, species = load_iris(return_X_y=True)

model = GaussianMixture(n_components=3, random_state=0).fit(X)
reference = ScikitLearnMixture(n_components=3, random_state=0).fit(X)
print("largest difference of means", f"{np.abs(model.means_ - reference.means_).max():.1e}")
print("BIC", round(model.bic(X), 3), round(reference.bic(X), 3))

search = GridSearchCV(
    make_pipeline(StandardScaler(), GaussianMixture(random_state=0)),
    {"gaussianmixture__n_components": [1, 2, 3, 4], "gaussianmixture__covariance_type": ["full", "tied", "diag"]},
).fit(X)
print("best by held-out log-likelihood", search.best_params_)

# beyond scikit-learn: a weight for each row
weighted = GaussianMixture(n_components=3, random_state=0).fit(X, sample_weight=np.where(species == 0, 2.0, 1.0))
print("weights", weighted.weights_.round(3))
