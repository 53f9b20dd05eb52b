"""New states of a model after rows that arrive, and after rows that are learnt anew or withdrawn.

Every function reads the settings and the state of a model and returns a new state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from streamgmm.algorithms.settings import EMSettings
from streamgmm.algorithms.variance_reduced import Restart
from streamgmm.data.source import Reading, Source
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError, InputError, InputTypeError
from streamgmm.estimator.estimator_settings import (
    check_features,
    check_fitted,
    check_settings,
    choose_float_dtype,
    count_rows_to_start,
    draw_seed,
    em_settings,
    read_features,
    user_start,
)
from streamgmm.estimator.fitted_state import FROM_PARAMETERS, Criteria, FittedState, get_parameters, make_public_arrays
from streamgmm.fitting import partition_statistics, streaming
from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.storage_order import warn_of_drift
from streamgmm.initialization import find_starts
from streamgmm.initialization.multistart import Restarts
from streamgmm.iteration.history import History
from streamgmm.iteration.run import choose_best_trajectory
from streamgmm.model.criteria import Prequential
from streamgmm.model.em import NO_WEIGHT
from streamgmm.model.parameters import Parameters

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture


def partial_fit(model: GaussianMixture, X: Any, sample_weight: ArrayLike | None, token: Any) -> FittedState:
    """Return the state after rows that have arrived; the same one where there is nothing to learn."""
    state = model._state
    if token is not None and token in state.tokens:
        return state
    check_settings(model)
    source, settings = as_source(X, sample_weight), em_settings(model)
    if state.n_features_in is not None:
        check_features(model, source)
    if source.n_rows == 0:
        return state
    d, seed = source.n_features, draw_seed(model.random_state) + (state.n_samples_seen or 0)
    stream = _resume_stream(model, settings)
    remaining: Reading = source
    if stream is None:
        needed = count_rows_to_start(model, d)
        pending, remaining = streaming.collect_rows(state.pending, source, needed)
        if pending.n_rows < needed:
            state = _mark_token(state, source, token)
            return replace(state, pending=pending, n_samples_seen=pending.n_rows)
        stream, _ = start_stream(model, settings, pending, d, seed)
    stream = streaming.learn_rows(stream, remaining, settings, seed, search=make_restart(model, settings, d))
    if stream.n_rows == 0:  # of an array that did not know its length
        return state
    accumulated = stream.state.accumulated
    if accumulated is None:
        raise InputError(NO_WEIGHT)
    dtype = choose_float_dtype(source.dtype) if state.means is None else state.means.dtype
    if state.converged is None:
        state = replace(state, converged=False, n_iter=1, lower_bounds=(), algorithm="stepwise")
    state = replace(
        _mark_token(state, source, token),
        **make_public_arrays(stream.reported, settings.structure, dtype),
        partition_statistics=None,
    )
    return _with_latest_bound(summarize_stream(state, stream, settings))


def _mark_token(state: FittedState, source: Source, token: Any) -> FittedState:
    """Return the state with the token of a batch, and with its features if it is the first."""
    features = {} if state.n_features_in is not None else read_features(source)
    latest = state.latest_token if token is None else token
    return replace(state, tokens=state.tokens.add(token), latest_token=latest, **features)


def summarize_stream(state: FittedState, stream: streaming.Stream, settings: EMSettings) -> FittedState:
    """Return the state with counts, criteria and history of a stream; warn once if the order of its rows matters."""
    accumulated, criteria = stream.state.accumulated, Criteria()
    if accumulated is not None:
        criteria["bound"] = state.bound_of(accumulated, stream.reported, settings.structure)
    if stream.prequential is not None:
        criteria["prequential"] = Prequential(stream.prequential.total, stream.prequential.weight)
    warns = stream.monitor.has_drifted and not settings.is_forgetting and not state.order_warned
    if warns:
        warn_of_drift(stream.monitor)
    return replace(
        state,
        n_samples_seen=stream.n_rows,
        criteria=criteria,
        history=stream.history,
        stream=stream,
        pending=streaming.PendingRows(),
        order_warned=state.order_warned or warns,
    )


def _with_latest_bound(state: FittedState) -> FittedState:
    """Return the state with its bound, per row, as the latest of the lower bounds."""
    assert state.criteria is not None
    criterion = state.criteria["bound"]
    latest = criterion.log_likelihood / criterion.n_samples
    return replace(state, lower_bound=latest, lower_bounds=(*(state.lower_bounds or ())[:-1], latest))


def _resume_stream(model: GaussianMixture, settings: EMSettings) -> streaming.Stream | None:
    """Return the stream of the model, or one that begins at its fit; None for a new model."""
    state = model._state
    if state.stream is not None:
        return streaming.continue_stream(state.stream, settings)
    if not state.is_fitted:
        return None
    parameters, n_rows = get_parameters(model), state.n_samples_seen or 0
    return streaming.start_stream(
        parameters, settings, n_rows=n_rows, accumulated=state.accumulated, history=state.history
    )


def start_stream(
    model: GaussianMixture, settings: EMSettings, pending: streaming.PendingRows, n_features: int, seed: int
) -> tuple[streaming.Stream, Restarts | None]:
    """Return a stream that has learnt the pending rows from the best start, and the starts that were tried."""
    given = user_start(model, n_features)
    if given.is_complete:
        start, restarts = given.to_parameters(), None
    else:
        start, restarts = _find_start(model, settings, pending.as_subsample(), n_features)
    stream = streaming.start_stream(start, settings)
    if pending.n_rows:
        subsample = pending.as_subsample()
        rows = as_source(subsample.rows, subsample.weights)
        stream = streaming.learn_rows(stream, rows, settings, seed, "start", is_scored=False)
    return stream, restarts


def _find_start(
    model: GaussianMixture, settings: EMSettings, subsample: Subsample, n_features: int
) -> tuple[Parameters, Restarts | None]:
    """Return the best start on some rows, and the starts that were tried."""
    random, reg_covar = check_random_state(model.random_state), settings.reg_covar
    starts, restarts = find_starts.find_starts(
        subsample, user_start(model, n_features), model.n_components, model.init_params, model.n_init, random, reg_covar
    )
    trajectories = find_starts.run_em_on_subsample(subsample, starts, settings.structure, reg_covar)
    return choose_best_trajectory(trajectories).parameters, restarts


def make_restart(model: GaussianMixture, settings: EMSettings, n_features: int) -> Restart | None:
    """Return the function that finds a start anew on some rows; None where the user gave the start."""
    if user_start(model, n_features).is_complete or model._state.algorithm == FROM_PARAMETERS:
        return None

    def restart(subsample: Subsample) -> Parameters | None:
        try:
            return _find_start(model, settings, subsample, n_features)[0]
        except DegenerateError:  # a trial only
            return None

    return restart


def update(model: GaussianMixture, X: Any, sample_weight: ArrayLike | None, rows: Any) -> FittedState:
    """Return the state after rows that were appended or changed; the same one where there are none."""
    state, kept, settings = model._state, _require_partition_statistics(model), em_settings(model)
    source = as_source(X, sample_weight)
    check_features(model, source)
    if source.n_rows is None:
        raise InputError("X has an unknown number of rows; pass the whole array, so that the new ones are known.")
    _check_weighted(kept, source)
    kept, partitions = kept.extend(source, None if rows is None else _parse_row_range(rows, source.n_rows))
    if not len(partitions):
        return state
    seed = draw_seed(model.random_state) + source.n_rows
    kept, trajectory = partition_statistics.revise_partitions(
        kept, source, partitions, get_parameters(model), settings, seed, "update"
    )
    return _summarize_revision(state, settings, kept, trajectory.parameters, trajectory.history)


def withdraw(model: GaussianMixture, rows: Any, X: Any, sample_weight: ArrayLike | None) -> FittedState:
    """Return the state without some of the rows that were learnt."""
    before, settings, parameters = _require_partition_statistics(model), em_settings(model), get_parameters(model)
    kept, partial = before.forget(*_parse_row_range(rows, before.partitions.n_rows))
    history: History | None = None
    if kept.accumulated is not None or not len(partial):
        parameters = partition_statistics.maximize_partitions(kept, settings)
    if len(partial):
        if X is None:
            first, stop = before.partitions.row_ranges(int(partial[0]))[0]
            raise InputError(
                f"Rows {first:,} to {stop:,} are kept as one, and only some of them are to be withdrawn; pass X "
                "too, so that the rest can be read."
            )
        source = as_source(X, sample_weight)
        check_features(model, source)
        _check_weighted(before, source)
        if before.partitions.extend(source).n_rows != before.partitions.n_rows:
            raise InputError("X has rows that were not learnt yet; call update(X) before or after, or leave them out.")
        seed = draw_seed(model.random_state)
        kept, trajectory = partition_statistics.revise_partitions(
            kept, source, partial, parameters, settings, seed, "withdraw"
        )
        parameters, history = trajectory.parameters, trajectory.history
    return _summarize_revision(model._state, settings, kept, parameters, history)


def _require_partition_statistics(model: GaussianMixture) -> PartitionStatistics:
    check_fitted(model)
    check_settings(model)
    kept = model._state.partition_statistics
    if kept is None:
        raise InputError(
            "The model keeps no statistics of pieces of its rows, which can be added to or withdrawn: it was not "
            "fitted by passes of algorithm='incremental', or has learnt by partial_fit since. Fit it so, or call "
            "partial_fit with the new rows alone."
        )
    return kept


def _summarize_revision(
    state: FittedState, settings: EMSettings, kept: PartitionStatistics, parameters: Parameters, more: History | None
) -> FittedState:
    accumulated, history = kept.accumulated, state.history or History()
    assert accumulated is not None and state.means is not None  # or the parameters could not be known
    for record in more or ():
        history = history.append_record(record)
    state = replace(
        state,
        **make_public_arrays(parameters, settings.structure, state.means.dtype),
        n_samples_seen=accumulated.likelihood.rows,
        history=history,
        accumulated=accumulated,
        stream=None,
        partition_statistics=kept,
    )
    return _with_latest_bound(
        replace(state, criteria={"bound": state.bound_of(accumulated, parameters, settings.structure)})
    )


def _check_weighted(kept: PartitionStatistics, source: Source) -> None:
    if kept.is_weighted != source.weighted:
        what = (
            "with sample weights; pass those of all rows" if kept.is_weighted else "without sample weights; pass none"
        )
        raise InputError(f"The model was fitted {what}, or fit it anew.")


def _parse_row_range(rows: Any, n_rows: int) -> tuple[int, int]:
    """Return the first row and the one behind the last, counted from the beginning."""
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
