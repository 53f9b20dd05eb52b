"""Log-likelihoods of a fitted mixture and what follows from them.

Log-likelihoods and numbers of parameters are known here, no data. `streamgmm.model.information_criteria` has the
formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamgmm.errors import InputError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.information_criteria import find_criterion
from streamgmm.model.likelihood import LogLikelihood, RunningMoments
from streamgmm.persistence.codec import persistent


def n_parameters(structure: CovarianceStructure, n_components: int, n_features: int) -> int:
    """Return the number of free parameters: k − 1 weights, k·d means and those of the covariances.

    Examples
    --------
    >>> from streamgmm.model.covariances import STRUCTURES
    >>> n_parameters(STRUCTURES["full"], n_components=2, n_features=3)
    19
    """
    return n_components - 1 + n_components * n_features + structure.n_parameters(n_components, n_features)


@persistent("criterion-1")
@dataclass(frozen=True, slots=True)
class Criterion:
    """Log-likelihood of rows and the information criteria that follow from it; lower is better.

    Parameters
    ----------
    log_likelihood : float
        Of all rows, in nats.
    classification : float or None
        Sum over rows of the log of the largest responsibility, in nats; None if unknown.
    n_samples : float
        Number of rows, or sum of the sample weights.
    n_parameters : int
        Free parameters, ν.

    Examples
    --------
    >>> criterion = Criterion(log_likelihood=-100.0, classification=-5.0, n_samples=1.0, n_parameters=7)
    >>> criterion.bic, criterion.aic, criterion.icl, criterion.value("bic")
    (200.0, 214.0, 210.0, 200.0)
    """

    log_likelihood: float
    classification: float | None
    n_samples: float
    n_parameters: int

    @classmethod
    def from_likelihood(cls, likelihood: LogLikelihood, n_parameters: int) -> Criterion:
        """Return the criterion of one set of parameters; ValueError where different ones were added together."""
        if likelihood.version is None:
            raise ValueError("log-likelihoods of different parameters do not add up to an exact one")
        return cls(likelihood.total, likelihood.classification, likelihood.weight, n_parameters)

    def for_effective_rows(self, n: float) -> Criterion:
        """Return the criterion of ``n`` independent rows with the same mean log-likelihood.

        Rows that resemble each other, such as neighbouring pixels, are worth fewer independent ones. The likelihood of
        N rows worth n is taken to the power n/N (composite likelihood; Varin, Reid & Firth, 2011), and criteria use n
        in place of N.

        Examples
        --------
        >>> criterion = Criterion(log_likelihood=-100.0, classification=-5.0, n_samples=10.0, n_parameters=7)
        >>> criterion.for_effective_rows(1.0).bic
        20.0
        """
        if not n > 0.0:
            raise InputError(f"An effective number of rows is positive, and not {n!r}.")
        fraction = n / self.n_samples
        classification = None if self.classification is None else fraction * self.classification
        return Criterion(fraction * self.log_likelihood, classification, n, self.n_parameters)

    def value(self, name: str) -> float:
        """Return the criterion of a name in `streamgmm.model.information_criteria.CRITERIA`; InputError for others."""
        criterion = find_criterion(name)
        return criterion.evaluate(self.log_likelihood, self.classification, self.n_samples, self.n_parameters)

    @property
    def bic(self) -> float:
        """Bayesian information criterion."""
        return self.value("bic")

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return self.value("aic")

    @property
    def icl(self) -> float:
        """Integrated completed likelihood; NaN if the responsibilities are unknown."""
        return self.value("icl")


@persistent("prequential-1")
@dataclass(frozen=True, slots=True)
class Prequential:
    """Log-likelihood of rows scored before they were learnt, each batch under the parameters of that time.

    It pays for its parameters itself (Dawid, 1984): no penalty is added and it has no BIC. It compares streams only
    over the same rows.

    Parameters
    ----------
    log_likelihood : float
        Of the scored rows, in nats.
    n_samples : float
        Their number, or the sum of their sample weights.

    Examples
    --------
    >>> Prequential(log_likelihood=-100.0, n_samples=50.0).mean
    -2.0
    """

    log_likelihood: float
    n_samples: float

    @property
    def mean(self) -> float:
        """Log-likelihood in nats a row."""
        return self.log_likelihood / self.n_samples


@persistent("held-out-1")
@dataclass(frozen=True, slots=True)
class HeldOut:
    """Log-likelihood of rows that were not learnt; no penalty is added and it has no BIC.

    Parameters
    ----------
    log_likelihood : float
        Of these rows, in nats.
    n_samples : float
        Their number, or the sum of their sample weights.
    standard_error : float
        Of the mean, in nats a row, for rows drawn independently. The difference of two mixtures on the same rows is
        far more certain: take the standard error of the differences row by row.

    Examples
    --------
    >>> HeldOut(log_likelihood=-100.0, n_samples=50.0, standard_error=0.1).mean
    -2.0
    """

    log_likelihood: float
    n_samples: float
    standard_error: float

    @classmethod
    def from_moments(cls, moments: RunningMoments) -> HeldOut:
        """Return the score of rows whose log-densities have these moments."""
        return cls(moments.weight * moments.mean, moments.weight, moments.standard_error)

    @property
    def mean(self) -> float:
        """Log-likelihood in nats a row."""
        return self.log_likelihood / self.n_samples
