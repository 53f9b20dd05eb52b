"""Methods by which a `GaussianMixture` learns: all rows at once, as they arrive, or as they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context

from streamgmm.errors import SinglePassError
from streamgmm.estimator import complete_fit, updates
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.estimator.model_checkpoint import adopt_state, attach_checkpoint

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture

Mixture = TypeVar("Mixture", bound="GaussianMixture")


@_fit_context(prefer_skip_nested_validation=True)
def fit(self: Mixture, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Mixture:
    """Estimate the parameters by EM.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        NumPy array or memory map, list, pandas or dask DataFrame, dask array, zarr array, HDF5 dataset, xarray
        object, path to ``.zarr``, ``.npy`` or ``.parquet``, an iterator of batches, or a function that returns a fresh
        one for each pass. float64, float32 and integers are read as they are stored, never copied whole.
    y : Ignored
        Present for scikit-learn's conventions.
    sample_weight : array-like or lazy array of shape (n_samples,), optional
        Frequency weights: a weight of 2 is the row twice.

    Returns
    -------
    self : GaussianMixture
        The fitted model.

    Raises
    ------
    InputError
        The data cannot be used; a ValueError. The message says what is wrong, where, and the remedy.
    DegenerateError
        A covariance cannot be inverted; a ValueError.
    SinglePassError
        The batches can be read only once and the algorithm needs several passes; a ValueError.
    CheckpointError
        The checkpoint is used by another fit, was begun with other rows or settings, is damaged, or cannot be
        written; a RuntimeError. In the last case the model is fitted nevertheless.
    KeyboardInterrupt
        The fit was interrupted. The model then has the parameters after the last complete pass, or after the batches
        of the first, with ``converged_`` False. Before any of these it is as it was.

    Warns
    -----
    ConvergenceWarning
        The passes ran out before the rule of ``tol`` was met; not after a single pass of stepwise EM.
    OrderWarning
        The rows are stored in an order that matters, and the result of stepwise EM depends on it.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import GaussianMixture
    >>> rows = np.random.default_rng(0).normal(size=(500, 2)) + np.repeat([[0.0], [8.0]], 250, axis=0)
    >>> model = GaussianMixture(2, random_state=0).fit(rows)
    >>> np.sort(model.means_[:, 0]).round(1)
    array([-0.1,  7.9])
    """
    complete_fit.fit(self, complete_fit.check_source(self, X, sample_weight))
    return self


@_fit_context(prefer_skip_nested_validation=True)
def fit_predict(self: GaussianMixture, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Any:
    """Estimate the parameters by EM and label the same rows.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `fit` reads, except an iterator of batches.
    y : Ignored
        Present for scikit-learn's conventions.
    sample_weight : array-like or lazy array of shape (n_samples,), optional
        Frequency weights: a weight of 2 is the row twice.

    Returns
    -------
    labels : ndarray, or lazy array of the kind of ``X``, of shape (n_samples,)
        int64 index of the most probable component of each row.

    Raises
    ------
    InputError
        The data cannot be used; a ValueError.
    DegenerateError
        A covariance cannot be inverted; a ValueError.
    SinglePassError
        ``X`` is an iterator, which is used up by the fit; a ValueError.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> labels = GaussianMixture(2, random_state=0).fit_predict([[0.0], [0.1], [5.0], [5.1]])
    >>> bool(labels[0] == labels[1] != labels[2])
    True
    """
    source = complete_fit.check_source(self, X, sample_weight)
    if not source.repeatable:
        raise SinglePassError(
            "fit_predict reads the data at least twice, and X is an iterator that can be read only once. Pass a "
            "function that returns a fresh iterator for each pass, or an array."
        )
    complete_fit.fit(self, source)
    from streamgmm.kernels.kernel import Kernel

    return source.map(Kernel.from_parameters(get_parameters(self)).labels, np.int64, None)


@_fit_context(prefer_skip_nested_validation=True)
def partial_fit(
    self: Mixture,
    X: Any,
    y: Any = None,
    sample_weight: ArrayLike | None = None,
    *,
    token: int | str | bytes | None = None,
) -> Mixture:
    """Learn rows that have arrived, in one reading.

    Variance-reduced EM: the model keeps a uniform sample of the rows (65,536 rows, at most 16 MiB), which corrects the
    statistics of earlier rows for the current parameters (control variates, as in Chen, Zhu, Teh & Zhang, 2018). The
    order in which rows arrive then costs little compared with EM over all of them. If later rows are unlike the first
    ones, the stream starts again from the sample, unless the start was given. ``step_size``, ``averaging=False`` or
    ``half_life`` choose stepwise EM instead, ``window`` chooses EM on the latest rows; both keep no rows.

    The model is not fitted until it has ten rows for each free parameter, or all of ``weights_init``, ``means_init``
    and ``precisions_init``; until then it keeps the rows. After `fit` it goes on from the fit, whose rows count.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Any number of rows; every kind of data that `fit` reads. An iterator of batches is read once.
    y : Ignored
        Present for scikit-learn's conventions.
    sample_weight : array-like or lazy array of shape (n_samples,), optional
        Frequency weights: a weight of 2 is the row twice.
    token : int, str or bytes, optional
        Name of these rows. A call with a token that was learnt before does nothing. Consecutive integers are kept as
        ranges; other tokens take about 100 bytes each.

    Returns
    -------
    self : GaussianMixture
        ``n_samples_seen_``, ``criteria_`` and ``history_`` are current. ``criteria_["bound"]`` is a lower bound of
        the log-likelihood of all rows learnt, in constant memory. With ``half_life`` each row counts as much as it is
        remembered, with ``window`` only rows in the window count. ``criteria_["prequential"]`` scores rows under
        parameters that had not seen them.

    Raises
    ------
    InputError
        The data cannot be used; a ValueError. The model is then as it was before the call.
    DegenerateError
        A covariance cannot be inverted; a ValueError. The model is then as it was before the call.
    CheckpointError
        The checkpoint is used by another fit, holds something else, or cannot be written; a RuntimeError. The model
        is then as it was before the call.

    Warns
    -----
    OrderWarning
        Once, if successive batches differ more than chance explains and nothing is to be forgotten.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import GaussianMixture
    >>> rows = np.random.default_rng(0).normal(size=(1000, 1))
    >>> model = GaussianMixture(1)
    >>> for batch in np.split(rows, 10):
    ...     model = model.partial_fit(batch)
    >>> model.n_samples_seen_, bool(abs(model.means_[0, 0] - rows.mean()) < 1e-12)
    (1000, True)
    """
    attach_checkpoint(self)
    state = updates.partial_fit(self, X, sample_weight, token)
    if state is not self._state:
        adopt_state(self, state)
    return self


@_fit_context(prefer_skip_nested_validation=True)
def update(self: Mixture, X: Any, sample_weight: ArrayLike | None = None, *, rows: Any = None) -> Mixture:
    """Learn the rows that were appended to the data of `fit`, and no others.

    A model that was fitted with ``algorithm='incremental'`` keeps the statistics of each partition of its rows, at
    most 4,096 partitions. New partitions are read once, in batches that each move the parameters; all others count
    with the statistics that they have. A last partition that grew is read anew.

    Parameters
    ----------
    X : array-like, lazy array or path of shape (n_samples, n_features)
        The whole data, grown at its end, in the same chunks as before. Earlier rows are not compared with what they
        were; name those that changed in ``rows``.
    sample_weight : array-like or lazy array of shape (n_samples,), optional
        Frequency weights of all rows, if the fit had weights.
    rows : slice, range or pair (first, stop), optional
        Rows to learn anew as well; their old statistics are replaced. Rows that were withdrawn come back. Whole
        partitions that have such rows are read.

    Returns
    -------
    self : GaussianMixture
        ``n_samples_seen_`` counts every row once. ``criteria_`` has the ``"bound"`` of the log-likelihood of all
        rows, although only the new ones were read, and no ``"exact"`` any more.

    Raises
    ------
    InputError
        The model keeps no such statistics, or ``X`` is not the data of before, grown; a ValueError. The model is
        then as it was.
    DegenerateError
        A covariance cannot be inverted; a ValueError. The model is then as it was.

    References
    ----------
    Neal & Hinton (1998), "A view of the EM algorithm that justifies incremental, sparse, and other variants".

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import GaussianMixture
    >>> rows = np.random.default_rng(0).normal(size=(3000, 1))
    >>> model = GaussianMixture(1, algorithm="incremental").fit(rows[:2000])
    >>> model.update(rows).n_samples_seen_, bool(abs(model.means_[0, 0] - rows.mean()) < 1e-12)
    (3000, True)
    """
    attach_checkpoint(self)
    state = updates.update(self, X, sample_weight, rows)
    if state is not self._state:
        adopt_state(self, state)
    return self


@_fit_context(prefer_skip_nested_validation=True)
def withdraw(self: Mixture, rows: Any, X: Any = None, sample_weight: ArrayLike | None = None) -> Mixture:
    """Take rows back: drop their statistics and re-estimate the parameters from the rest.

    The result is not that of a fit without these rows. The responsibilities of all other rows came from parameters
    that had seen them; so did the start, ``history_`` and every file saved before. To be rid of all traces, fit anew.

    Parameters
    ----------
    rows : slice, range or pair (first, stop)
        Rows to withdraw, counted as they were learnt. They keep their numbers, and `update` learns them again only
        if they are named.
    X : array-like, lazy array or path of shape (n_samples, n_features), optional
        The data of before. It is needed, and read, only where ``rows`` begin or end within a partition, whose other
        rows stay.
    sample_weight : array-like or lazy array of shape (n_samples,), optional
        Frequency weights of all rows, if the fit had weights.

    Returns
    -------
    self : GaussianMixture
        ``n_samples_seen_`` counts the rows that are left.

    Raises
    ------
    InputError
        ``X`` is needed or is not the data of before, or no rows would be left; a ValueError. The model is then as
        it was.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import GaussianMixture
    >>> rows = np.random.default_rng(0).normal(size=(3000, 1))
    >>> model = GaussianMixture(1, algorithm="incremental").fit(rows)
    >>> model.withdraw((0, 1000), rows).n_samples_seen_, bool(abs(model.means_[0, 0] - rows[1000:].mean()) < 1e-12)
    (2000, True)
    """
    attach_checkpoint(self)
    adopt_state(self, updates.withdraw(self, rows, X, sample_weight))
    return self
