"""Learning as data arrives: partial_fit, and what it shares with fit. No mathematics here."""

from __future__ import annotations

from copy import copy, deepcopy
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state

from streamgmm.algorithms.schedules import Constant
from streamgmm.algorithms.settings import EMSettings
from streamgmm.algorithms.variance_reduced import Restart
from streamgmm.data.source import Reading
from streamgmm.data.sources import Source, as_source
from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError, InputError
from streamgmm.estimator import prediction
from streamgmm.estimator.attributes import attributes_of
from streamgmm.estimator.keeping import KeptMixture
from streamgmm.fitting import streaming as online
from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.storage_order import warn_of_drift
from streamgmm.fitting.tokens import Tokens
from streamgmm.initialization import find_starts
from streamgmm.initialization.find_starts import TOO_FEW_ROWS, check_warm_start, subsample_size
from streamgmm.initialization.multistart import Restarts
from streamgmm.initialization.user_start import UserStart
from streamgmm.iteration.run import Trajectory, best_trajectory
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import Criterion, Prequential, n_parameters
from streamgmm.model.em import NO_WEIGHT, Expectation, compute_bound
from streamgmm.model.parameters import Parameters


class OnlineMixture(KeptMixture):
    """Methods that need the settings of `GaussianMixture`, and no more than one reading of the data."""

    n_components: int
    tol: Any
    reg_covar: float
    n_init: int
    init_params: str
    weights_init: Any
    means_init: Any
    precisions_init: Any
    batch_size: Any
    step_size: Any
    averaging: Any
    half_life: float | None
    window: int | None
    lower_bounds_: list[float]
    _covered: Expectation | None
    _ledger: PartitionStatistics | None
    _stream: online.Stream | None
    _waiting: online.PendingRows
    _too_few: str | None

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, token: Any = None) -> Self:
        """Learn rows that have arrived, in one reading.

        A uniform sample of the rows (65,536, but no more than 16 MiB) is kept, and saved, with the model: it tells what
        earlier rows would say under the parameters of now (control variates, as in Chen, Zhu, Teh & Zhang, 2018), so
        that in whatever order rows arrive, little is lost beside EM that could read all of them again. Where rows turn
        out to be unlike those that it began with, it is begun again from the sample, unless the start was given. With
        ``step_size``, ``averaging=False`` or ``half_life`` it is stepwise EM instead, and with ``window`` EM on the
        statistics of the latest rows; then no rows are kept.

        Until there are ten rows for each free parameter (or all of ``weights_init``, ``means_init`` and
        ``precisions_init``), rows are kept and the model is not fitted yet. After `fit`, learning goes on from it: its
        rows count as rows that were learnt.

        Parameters
        ----------
        X : as in `fit`
            Any number of rows, 1 included; an iterator of batches is read once.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), optional
            Frequency weights: a weight of 2 is the row twice.
        token : int, str or bytes, optional
            Names these rows; a call with a token that was learnt before does nothing. Tokens that are consecutive
            integers are kept as ranges; others take about 100 bytes each.

        Returns
        -------
        self : GaussianMixture
            ``n_samples_seen_``, ``criteria_`` and ``history_`` are current. ``criteria_["bound"]`` is a lower bound of
            the log-likelihood of all rows learnt (with ``half_life``, each row counting as much as it is remembered;
            with ``window``, of the rows in it), kept in constant memory. ``criteria_["prequential"]`` is the likelihood
            of rows under parameters that had not seen them.

        Raises
        ------
        InputError
            The data cannot be used; a ValueError. The model is then as it was before the call.
        DegenerateError
            A covariance cannot be inverted; a ValueError. The model is then as it was before the call.

        Warns
        -----
        OrderWarning
            Once, where batches follow each other that differ more than chance explains, and nothing is to be forgotten.

        Examples
        --------
        >>> import numpy as np
        >>> from streamgmm import GaussianMixture
        >>> rows = np.random.default_rng(0).normal(size=(1000, 1))
        >>> model = GaussianMixture(1)
        >>> for part in np.split(rows, 10):
        ...     model = model.partial_fit(part)
        >>> model.n_samples_seen_, bool(abs(model.means_[0, 0] - rows.mean()) < 1e-12)
        (1000, True)
        """
        self._attach()
        tokens: Tokens = getattr(self, "_tokens", Tokens())
        if token is not None and token in tokens:
            return self
        self._check_settings()
        source, learning = as_source(X, sample_weight), self._learning()
        if hasattr(self, "n_features_in_"):
            self._check_features(source, reset=False)
        if source.n_rows == 0:
            return self
        seed = self._seed() + int(getattr(self, "n_samples_seen_", 0))
        stream = self._stream_so_far(learning)
        waiting: online.PendingRows = getattr(self, "_waiting", online.PendingRows())
        rest: Reading = source
        if stream is None:
            waiting, rest = online.collect_rows(waiting, source, self._rows_to_start(learning, source.n_features))
            if waiting.n_rows < self._rows_to_start(learning, source.n_features):
                after = copy(self)
                after._wait(source, waiting, token, tokens)
                return self._keep(after)
            start, _ = self._start_of(waiting, learning, source.n_features)
            stream = online.start_stream(start, learning)
            if waiting.n_rows:
                subsample = waiting.as_subsample()
                rows = as_source(subsample.rows, subsample.weights)
                stream = online.learn_rows(stream, rows, learning, seed, "start", is_scored=False)
        stream = online.learn_rows(stream, rest, learning, seed, search=self._restart(learning, source.n_features))
        if stream.n_rows == 0:  # of an array that did not know its length
            return self
        if stream.state.accumulated is None:
            raise InputError(NO_WEIGHT)
        after = copy(self)
        after._take_over(source, stream, learning, token, tokens)
        return self._keep(after)

    def _fit_once(self, source: Source, learning: EMSettings, seed: int, resumed: bool) -> None:
        """Stepwise EM over an iterator: a start from the first rows, then all of them once."""
        k, d = self.n_components, source.n_features
        rest: Reading = source
        restarts = None
        if resumed:
            stream = online.start_stream(check_warm_start(self._parameters(), k, d), learning)
        else:
            waiting, rest = online.collect_rows(online.PendingRows(), source, subsample_size(k, d))
            if waiting.n_rows < max(2, k):
                raise InputError(TOO_FEW_ROWS.format(max(2, k), waiting.n_rows))
            subsample = waiting.as_subsample()
            begin, restarts = self._start_of(waiting, learning, d)
            stream = online.start_stream(begin, learning)
            start = as_source(subsample.rows, subsample.weights)
            stream = online.learn_rows(stream, start, learning, seed, "start", is_scored=False)

        def watch(now: online.Stream) -> None:
            nonlocal stream
            stream = now

        try:
            again = None if resumed else self._restart(learning, d)
            stream = online.learn_rows(stream, rest, learning, seed, "stepwise", observe=watch, search=again)
        except KeyboardInterrupt:
            if stream.state.accumulated is not None:
                self._show_once(source, learning, online.report_stream(stream, learning), restarts, ended=False)
            raise
        self._show_once(source, learning, stream, restarts, ended=True)

    def _show_once(
        self,
        source: Source,
        learning: EMSettings,
        stream: online.Stream,
        restarts: Restarts | None,
        *,
        ended: bool,
    ) -> None:
        """Become what one reading has come to, be it all rows or not."""
        covered = stream.state.accumulated
        if covered is None:
            raise InputError(NO_WEIGHT)
        bounds = (compute_bound(covered, stream.reported) / covered.likelihood.weight,) if ended else ()
        once = Trajectory(stream.reported, bounds, history=stream.history)
        after = copy(self)
        after._remember(source, learning, once, covered, "stepwise", restarts)
        after._show(stream, learning)
        self._become(after)

    def _remember(
        self,
        source: Source,
        learning: EMSettings,
        winner: Trajectory,
        covered: Expectation | None,
        algorithm: str,
        restarts: Restarts | None,
    ) -> None:
        """Set every fitted attribute; ``covered`` is of all rows, unless the fit was left before its end."""
        for name in ("restarts_", "durable_token_", "_token", "_recipe"):
            self.__dict__.pop(name, None)
        if restarts is not None:
            self.restarts_ = restarts
        fitted = attributes_of(winner.parameters, learning.structure, prediction.float_dtype(source.dtype))
        self._check_features(source, reset=True)
        for name, array in fitted.items():
            setattr(self, name, array)
        free = self._n_parameters()
        self.converged_ = winner.converged
        self.n_iter_ = len(winner.lower_bounds)
        self.lower_bound_ = winner.lower_bound
        self.lower_bounds_ = list(winner.lower_bounds)
        self.n_samples_seen_ = _rows_read(winner, source) if covered is None else covered.likelihood.rows
        self.criteria_ = {}
        if covered is not None and covered.likelihood.version is not None:
            self.criteria_["exact"] = Criterion.from_likelihood(covered.likelihood, free)
        if covered is not None:
            energy = compute_bound(covered, winner.parameters)
            self.criteria_["bound"] = Criterion(energy, None, covered.likelihood.weight, free)
        self.history_ = winner.history
        self.algorithm_ = algorithm
        self._covered, self._stream, self._waiting, self._too_few = covered, None, online.PendingRows(), None
        self._tokens, self._warned, self._ledger = Tokens(), False, None

    def _rows_to_start(self, learning: EMSettings, n_features: int) -> int:
        """Rows that `partial_fit` waits for."""
        if self._given(learning, n_features).is_complete:
            return 0
        k = self.n_components
        free = n_parameters(learning.structure, k, n_features)
        return max(2, k, min(10 * free, subsample_size(k, n_features)))

    def _stream_so_far(self, learning: EMSettings) -> online.Stream | None:
        """The stream as it was left, or one that goes on from `fit`."""
        stream: online.Stream | None = getattr(self, "_stream", None)
        if stream is not None:
            return online.continue_stream(stream, learning)
        if hasattr(self, "means_"):
            stream = online.start_stream(
                self._parameters(),
                learning,
                n_rows=self.n_samples_seen_,
                accumulated=getattr(self, "_covered", None),
                history=getattr(self, "history_", None),
            )
        return stream

    def _wait(self, source: Source, waiting: online.PendingRows, token: Any, tokens: Tokens) -> None:
        """Keep rows that are too few to start from."""
        needed = self._rows_to_start(self._learning(), source.n_features)
        if not hasattr(self, "n_features_in_"):
            self._check_features(source, reset=True)
        self._waiting = waiting
        self.n_samples_seen_ = waiting.n_rows
        self._tokens = tokens.joined(token)
        self._token = getattr(self, "_token", None) if token is None else token
        self._too_few = (
            f"This %(name)s instance is not fitted yet: it has {waiting.n_rows} of the {needed} rows that it starts "
            "from. Call partial_fit with more, or give weights_init, means_init and precisions_init."
        )

    def _take_over(
        self, source: Source, stream: online.Stream, learning: EMSettings, token: Any, tokens: Tokens
    ) -> None:
        """Set everything that a call has changed."""
        covered = stream.state.accumulated
        assert covered is not None  # there were rows of some weight
        dtype = prediction.float_dtype(source.dtype) if not hasattr(self, "means_") else self.means_.dtype
        fitted = attributes_of(stream.reported, learning.structure, dtype)
        if not hasattr(self, "n_features_in_"):
            self._check_features(source, reset=True)
        fresh = not hasattr(self, "means_")
        for name, array in fitted.items():
            setattr(self, name, array)
        if fresh:
            self.converged_, self.n_iter_, self.lower_bounds_ = False, 1, []
            self.algorithm_ = "stepwise"
        self._tokens = tokens.joined(token)
        self._token = getattr(self, "_token", None) if token is None else token
        self._ledger = None
        self._show(stream, learning)
        self.lower_bound_ = self.criteria_["bound"].log_likelihood / covered.likelihood.weight
        self.lower_bounds_ = [*self.lower_bounds_[:-1], self.lower_bound_]

    def _show(self, stream: online.Stream, learning: EMSettings) -> None:
        """Counts, criteria and history of a stream; and that its order matters, if nobody was told yet."""
        covered = stream.state.accumulated
        free = self._n_parameters()
        self._stream, self._waiting, self._too_few = stream, online.PendingRows(), None
        self.n_samples_seen_ = stream.n_rows
        self.history_ = stream.history
        self.criteria_ = {}
        if covered is not None:
            energy = self._energy(covered, stream.reported)
            self.criteria_["bound"] = Criterion(energy, None, covered.likelihood.weight, free)
        if stream.prequential is not None:
            self.criteria_["prequential"] = Prequential(stream.prequential.total, stream.prequential.weight)
        if stream.monitor.has_drifted and not learning.is_forgetting and not getattr(self, "_warned", False):
            self._warned = True
            warn_of_drift(stream.monitor)

    def _energy(self, covered: Expectation, parameters: Parameters) -> float:
        """Bound of the log-likelihood, nats, of the parameters as the attributes show them: perhaps in float32."""
        return compute_bound(covered, parameters if self.means_.dtype == np.float64 else self._parameters())

    def _learning(self) -> EMSettings:
        """The settings of learning, as values; a constant step becomes its schedule."""
        step = self.step_size
        if (
            step is not None
            and not isinstance(step, Real)
            and (isinstance(step, type) or not hasattr(step, "averages"))
        ):
            raise InputError(f"step_size is {step!r}; give a number or a schedule, such as PowerDecay(0.7).")
        schedule = Constant(float(step)) if isinstance(step, Real) else step
        if self.half_life is not None and schedule is not None:
            raise InputError("half_life and step_size both say how fast to forget; give one of them.")
        if self.half_life is not None and self.window is not None:
            raise InputError("half_life and window both say what to forget; give one of them.")
        return EMSettings(
            STRUCTURES[self.covariance_type],
            self.reg_covar,
            None if self.batch_size == "auto" else int(self.batch_size),
            schedule,
            None if self.averaging == "auto" else bool(self.averaging),
            self.half_life,
            self.window,
            None if self.tol == "auto" else float(self.tol),
        )

    def _start_of(
        self, waiting: online.PendingRows, learning: EMSettings, n_features: int
    ) -> tuple[Parameters, Restarts | None]:
        """The best start from some rows at hand, and what was tried to find it."""
        given = self._given(learning, n_features)
        if given.is_complete:
            return given.to_parameters(), None
        return self._found(waiting.as_subsample(), given, learning)

    def _found(
        self, subsample: Subsample, given: UserStart, learning: EMSettings
    ) -> tuple[Parameters, Restarts | None]:
        random = check_random_state(self.random_state)
        k, way = self.n_components, self.init_params
        starts, restarts = find_starts.find_starts(subsample, given, k, way, self.n_init, random, self.reg_covar)
        return best_trajectory(
            find_starts.run_em_on_subsample(subsample, starts, learning.structure, self.reg_covar)
        ).parameters, restarts

    def _restart(self, learning: EMSettings, n_features: int) -> Restart | None:
        """How a start is found anew on some rows; None where it was given, and stays what it is."""
        given = self._given(learning, n_features)

        def found(subsample: Subsample) -> Parameters | None:
            try:
                return self._found(subsample, given, learning)[0]
            except DegenerateError:  # of what was only to be tried
                return None

        return None if given.is_complete else found

    def _given(self, learning: EMSettings, n_features: int) -> UserStart:
        return UserStart.from_arguments(
            self.weights_init, self.means_init, self.precisions_init, learning.structure, self.n_components, n_features
        )

    def _seed(self) -> int:
        """What online draws come from; a state that is given is left as it was, for the starts to draw from."""
        return int(deepcopy(check_random_state(self.random_state)).randint(2**31 - 1))


def _rows_read(winner: Trajectory, source: Source) -> int:
    """Rows that were learnt by a fit that was left: all, or those of its updates where its first pass has not ended."""
    if winner.lower_bounds and source.n_rows is not None:
        return source.n_rows
    records = list(winner.history)
    return sum(record.rows for record in (records[-1:] if winner.lower_bounds else records))
