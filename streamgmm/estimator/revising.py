"""Data at rest that changes: rows appended, replaced or withdrawn. No mathematics here."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

from sklearn.base import _fit_context

from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.sources import Source, as_source
from streamgmm.errors import InputError, InputTypeError
from streamgmm.estimator.attributes import attributes_of
from streamgmm.estimator.updating import OnlineMixture
from streamgmm.fitting.partition_statistics import PartitionStatistics, maximize_partitions, revise_partitions
from streamgmm.iteration.history import History
from streamgmm.model.criteria import Criterion
from streamgmm.model.parameters import Parameters


class RevisableMixture(OnlineMixture):
    """Methods of a model that was fitted with ``algorithm='incremental'`` and so keeps an entry for each piece."""

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def update(self, X: Any, sample_weight: Any = None, *, rows: Any = None) -> Self:
        """Learn the rows that were appended to the data of `fit`, and no others.

        A model that was fitted with ``algorithm='incremental'`` keeps the statistics of each piece of its rows, 4,096
        pieces at most. New pieces are read, once, in batches that each move the parameters; all others count with the
        statistics that they have. A last piece that grew is read anew.

        Parameters
        ----------
        X : as in `fit`
            The whole array, grown at its end, in the same chunks as before. That the rows before are what they were is
            not checked; name those that changed in ``rows``.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of all rows, as in `fit`.
        rows : slice, range or pair (first, stop), optional
            Rows to be learnt anew besides: what they said before is replaced, and those withdrawn come back. Whole
            pieces that have such rows are read.

        Returns
        -------
        self : GaussianMixture
            ``n_samples_seen_`` counts every row once. ``criteria_`` has the ``"bound"`` of the log-likelihood of all
            rows, for which none but the new ones were read, and no ``"exact"`` any more.

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
        self._attach()
        ledger = self._kept()
        source, learning = as_source(X, sample_weight), self._learning()
        self._check_features(source, reset=False)
        if source.n_rows is None:
            raise InputError("X has an unknown number of rows; pass the whole array, so that the new ones are known.")
        _check_weighted(ledger, source)
        grown, places = ledger.extend(source, None if rows is None else _span(rows, source.n_rows))
        if len(places):
            ledger, trajectory = revise_partitions(
                grown, source, places, self._parameters(), learning, self._seed() + source.n_rows, "update"
            )
            after = copy(self)
            after._settle(ledger, trajectory.parameters, learning, trajectory.history)
            self._keep(after)
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def withdraw(self, rows: Any, X: Any = None, sample_weight: Any = None) -> Self:
        """Take rows back: their statistics are dropped, and the parameters are those of what is left.

        This is not what a fit without these rows would give. The statistics of all other rows stay what they are, and
        their responsibilities came from parameters that had seen the rows withdrawn; so had the start, ``history_`` and
        every file saved before. To be rid of all traces, fit anew.

        Parameters
        ----------
        rows : slice, range or pair (first, stop)
            Which rows, counted as they were learnt. They keep their numbers, and `update` does not learn them again
            unless they are named.
        X : as in `fit`, optional
            The data of before. Needed, and read, only where ``rows`` begin or end within a piece, of which the rest
            has to stay.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of all rows, as in `fit`.

        Returns
        -------
        self : GaussianMixture
            ``n_samples_seen_`` counts what is left.

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
        self._attach()
        before, learning = self._kept(), self._learning()
        ledger, left = before.forget(*_span(rows, before.partitions.n_rows))
        history: History | None = None
        parameters = self._parameters()
        if ledger.accumulated is not None or not len(left):
            parameters = maximize_partitions(ledger, learning)
        if len(left):
            if X is None:
                first, stop = before.partitions.row_ranges(int(left[0]))[0]
                raise InputError(
                    f"Rows {first:,} to {stop:,} are kept as one, and only some of them are to be withdrawn; pass X "
                    "too, so that the rest can be read."
                )
            source = as_source(X, sample_weight)
            self._check_features(source, reset=False)
            _check_weighted(before, source)
            if before.partitions.extend(source).n_rows != before.partitions.n_rows:
                raise InputError(
                    "X has rows that were not learnt yet; call update(X) before or after, or leave them out."
                )
            ledger, trajectory = revise_partitions(ledger, source, left, parameters, learning, self._seed(), "withdraw")
            parameters, history = trajectory.parameters, trajectory.history
        after = copy(self)
        after._settle(ledger, parameters, learning, history)
        return self._keep(after)

    @property
    def keeps_entries(self) -> bool:
        """Whether `update` and `withdraw` can be called: after an incremental fit, until `partial_fit`."""
        return getattr(self, "_ledger", None) is not None

    def _kept(self) -> PartitionStatistics:
        """What there is to be revised."""
        self._check_is_fitted()
        self._check_settings()
        if not self.keeps_entries or self._ledger is None:
            raise InputError(
                "The model keeps no statistics of pieces of its rows, which can be added to or withdrawn: it was not "
                "fitted by passes of algorithm='incremental', or has learnt by partial_fit since. Fit it so, or call "
                "partial_fit with the new rows alone."
            )
        return self._ledger

    def _settle(
        self, ledger: PartitionStatistics, parameters: Parameters, learning: EMSettings, history: History | None
    ) -> None:
        """Set every attribute."""
        fitted = attributes_of(parameters, learning.structure, self.means_.dtype)
        covered = ledger.accumulated
        assert covered is not None  # or the parameters could not be known
        for name, array in fitted.items():
            setattr(self, name, array)
        energy = self._energy(covered, parameters)
        self.lower_bound_ = energy / covered.likelihood.weight
        self.lower_bounds_ = [*self.lower_bounds_[:-1], self.lower_bound_]
        self.n_samples_seen_ = covered.likelihood.rows
        self.criteria_ = {"bound": Criterion(energy, None, covered.likelihood.weight, self._n_parameters())}
        for record in history or ():
            self.history_ = self.history_.appended(record)
        self._covered, self._stream, self._ledger = covered, None, ledger


def _check_weighted(ledger: PartitionStatistics, source: Source) -> None:
    if ledger.is_weighted != source.weighted:
        what = (
            "with sample weights; pass those of all rows" if ledger.is_weighted else "without sample weights; pass none"
        )
        raise InputError(f"The model was fitted {what}, or fit it anew.")


def _span(rows: Any, n_rows: int) -> tuple[int, int]:
    """First row and the one behind the last, counted from the beginning."""
    if isinstance(rows, range):
        rows = slice(rows.start, rows.stop, rows.step)
    if isinstance(rows, tuple) and len(rows) == 2:
        rows = slice(*rows)
    if not isinstance(rows, slice) or rows.step not in (None, 1):
        raise InputTypeError(f"rows is {rows!r}; give a slice or range of consecutive rows, or a pair (first, stop).")
    try:
        first, stop, _ = rows.indices(n_rows)
    except TypeError:
        raise InputTypeError(f"rows is {rows!r}; its ends have to be integers.") from None
    if first >= stop:
        raise InputError(f"rows from {first} to {stop} are none of the {n_rows} rows.")
    return first, stop
