"""Information criteria: lower is better, as in scikit-learn; mclust's are the negatives.

Knows log-likelihoods and counts of parameters, nothing of data.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, nan

from streamgmm.errors import InputError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.likelihood import LogLikelihood, RunningMoments


def n_parameters(structure: CovarianceStructure, n_components: int, n_features: int) -> int:
    """Free parameters: k − 1 weights, k·d means and those of the covariances.

    Examples
    --------
    >>> from streamgmm.model.covariances import STRUCTURES
    >>> n_parameters(STRUCTURES["full"], n_components=2, n_features=3)
    19
    """
    return n_components - 1 + n_components * n_features + structure.n_parameters(n_components, n_features)


@dataclass(frozen=True, slots=True)
class Criterion:
    """A log-likelihood and what follows from it.

    Parameters
    ----------
    log_likelihood : float
        Of all rows, nats.
    classification : float
        Sum over rows of the log of the largest responsibility, nats; None where it is not known.
    n_samples : float
        Rows, or the sum of the sample weights.
    n_parameters : int
        Free parameters, ν.

    Examples
    --------
    >>> criterion = Criterion(log_likelihood=-100.0, classification=-5.0, n_samples=1.0, n_parameters=7)
    >>> criterion.bic, criterion.aic, criterion.icl
    (200.0, 214.0, 210.0)
    """

    log_likelihood: float
    classification: float | None
    n_samples: float
    n_parameters: int

    @classmethod
    def of(cls, likelihood: LogLikelihood, n_parameters: int) -> Criterion:
        """Criterion of a tally under one set of parameters; ValueError where different ones were added together."""
        if likelihood.version is None:
            raise ValueError("log-likelihoods of different parameters do not add up to an exact one")
        return cls(likelihood.total, likelihood.classification, likelihood.weight, n_parameters)

    def of_effective(self, n: float) -> Criterion:
        """Criterion of ``n`` independent rows with the same mean log-likelihood, where those there are say no more.

        Rows that resemble each other, such as neighbouring pixels, repeat what others have said: both the likelihood
        and N count it again. Of N rows worth n, the likelihood is to the power of n/N (a composite likelihood; Varin,
        Reid & Firth, 2011), and BIC, AIC and ICL have n for N.

        Examples
        --------
        >>> criterion = Criterion(log_likelihood=-100.0, classification=-5.0, n_samples=10.0, n_parameters=7)
        >>> criterion.of_effective(1.0).bic
        20.0
        """
        if not n > 0.0:
            raise InputError(f"An effective number of rows is positive, and not {n!r}.")
        share = n / self.n_samples
        classification = None if self.classification is None else share * self.classification
        return Criterion(share * self.log_likelihood, classification, n, self.n_parameters)

    @property
    def bic(self) -> float:
        """−2·l + ν·log N (Schwarz, 1978)."""
        return -2 * self.log_likelihood + self.n_parameters * log(self.n_samples)

    @property
    def aic(self) -> float:
        """−2·l + 2·ν (Akaike, 1974)."""
        return -2 * self.log_likelihood + 2 * self.n_parameters

    @property
    def icl(self) -> float:
        """BIC − 2·sum of log max_k r: BIC plus a price on ambiguous rows (Biernacki, Celeux & Govaert, 2000).

        NaN where that sum is not known.
        """
        if self.classification is None:
            return nan
        return self.bic - 2 * self.classification


@dataclass(frozen=True, slots=True)
class Prequential:
    """Log-likelihood of rows under parameters that had not seen them: each batch before it was learnt.

    It pays for its parameters itself (Dawid, 1984), so that no penalty is added and it has no BIC. Streams are compared
    by it only over the same rows.

    Parameters
    ----------
    log_likelihood : float
        Of the rows scored, nats.
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
        """Nats a row."""
        return self.log_likelihood / self.n_samples


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Log-likelihood of rows that were not learnt, so that no penalty is added and it has no BIC.

    Parameters
    ----------
    log_likelihood : float
        Of these rows, nats.
    n_samples : float
        Their number, or the sum of their sample weights.
    standard_error : float
        Of the mean, nats a row, where the rows were drawn independently. It says little of the difference of two
        mixtures, which is far surer where both are judged by the same rows: take that of the differences row by row.

    Examples
    --------
    >>> HeldOut(log_likelihood=-100.0, n_samples=50.0, standard_error=0.1).mean
    -2.0
    """

    log_likelihood: float
    n_samples: float
    standard_error: float

    @classmethod
    def of(cls, spread: RunningMoments) -> HeldOut:
        """Of the log-densities of rows."""
        return cls(spread.weight * spread.mean, spread.weight, spread.standard_error)

    @property
    def mean(self) -> float:
        """Nats a row."""
        return self.log_likelihood / self.n_samples
