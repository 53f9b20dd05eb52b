"""State of a model after a complete fit: all phases over data that can be read again, or one pass over an iterator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from streamgmm.algorithms.incremental import IncrementalState
from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.source import Reading, Source
from streamgmm.data.sources import as_source
from streamgmm.errors import InputError, SinglePassError
from streamgmm.estimator.estimator_settings import (
    check_settings,
    choose_float_dtype,
    draw_seed,
    em_settings,
    read_features,
    user_start,
)
from streamgmm.estimator.fitted_state import Criteria, FittedState, get_parameters, make_public_arrays
from streamgmm.estimator.model_checkpoint import (
    ModelGeneration,
    make_generation,
    mark_written,
    open_model_writer,
    restore_state,
    resume_fit,
)
from streamgmm.estimator.updates import make_restart, start_stream, summarize_stream
from streamgmm.fitting import streaming
from streamgmm.fitting.context import FitContext, FitState, FitTask
from streamgmm.fitting.driver import run_phases
from streamgmm.fitting.final_pass import FinalPassState
from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.plan import choose_algorithm, ends_with_whole_passes
from streamgmm.fitting.progress import Progress
from streamgmm.fitting.starts_phase import StartsState, make_fit_phases
from streamgmm.fitting.storage_order import StorageOrderMonitor
from streamgmm.initialization.find_starts import TOO_FEW_ROWS, check_warm_start, choose_subsample_size
from streamgmm.initialization.multistart import Restarts
from streamgmm.iteration.loop import Event
from streamgmm.iteration.run import Trajectory
from streamgmm.model.criteria import Criterion, n_parameters
from streamgmm.model.em import NO_WEIGHT, Expectation, compute_bound
from streamgmm.persistence.session import CheckpointSession, write_content
from streamgmm.persistence.store import Generation
from streamgmm.persistence.writer import CheckpointWriter

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture

NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase max_iter, tol, or "
    "check for degenerate data."
)


def check_source(model: GaussianMixture, X: Any, sample_weight: ArrayLike | None) -> Source:
    """Return the rows of a fit; InputError where they are fewer than two, or than components."""
    source = as_source(X, sample_weight)
    if source.n_rows is not None and source.n_rows < 2:
        raise InputError(
            f"Found array with {source.n_rows} sample(s) (shape={(source.n_rows, source.n_features)}) while a "
            f"minimum of 2 is required by {type(model).__name__}."
        )
    if source.n_rows is not None and source.n_rows < model.n_components:
        raise InputError(TOO_FEW_ROWS.format(model.n_components, source.n_rows))
    return source


def fit(model: GaussianMixture, source: Source) -> None:
    """Set the state of a fit; of an interrupted one, the state after its last complete pass."""
    settings = replace(em_settings(model), window=None)  # a fit is to all rows
    is_warm = bool(model.warm_start and model._state.converged is not None)
    algorithm = choose_algorithm(model.algorithm, source, settings, model.n_components, is_warm)
    _check_fit(model, source, algorithm)
    if is_warm:
        check_settings(model, any_size=model.split_merge)
    if not source.repeatable:
        model._state = _fit_once(model, source, settings, is_warm)
        return
    before, previous = (get_parameters(model), model.lower_bound_) if is_warm else (None, -np.inf)
    task = FitTask(None, algorithm, draw_seed(model.random_state), (), before, previous)
    writer = open_model_writer(model, min_seconds=1.0)
    try:
        _fit_repeatable(model, source, settings, task, writer)
    finally:
        if writer is not None and writer is not model._writer:
            writer.store.close()


def _check_fit(model: GaussianMixture, source: Source, algorithm: str) -> None:
    """Raise where the algorithm cannot fit rows of this kind."""
    if not source.repeatable and (algorithm != "stepwise" or model.max_iter == 0):
        raise SinglePassError(
            f"algorithm={algorithm!r} with max_iter={model.max_iter} reads the data more than once, but X is an "
            "iterator, which can be read only once. Pass a function that returns a fresh iterator for each pass, or an "
            "array, or choose algorithm='stepwise' with max_iter=1 or more."
        )
    if model.split_merge and not ends_with_whole_passes(algorithm):
        which = f"algorithm={algorithm!r}" if source.repeatable else "an iterator that can be read only once"
        raise InputError(
            f"split_merge tries other optima by passes of batch EM, of which {which} has none; set "
            "split_merge=False, or pass data that can be read again with algorithm='auto' or 'batch'."
        )
    if not source.repeatable and model.checkpoint is not None:
        raise SinglePassError(
            "An interrupted fit is resumed by reading X again, but X is an iterator, which can be "
            "read only once. Pass a function that returns a fresh iterator for each pass, or an array, or "
            "learn the batches by partial_fit with a token each."
        )


def _fit_repeatable(
    model: GaussianMixture, source: Source, settings: EMSettings, task: FitTask, writer: CheckpointWriter | None
) -> None:
    """Fit, from where the checkpoint has come to."""
    progress: FitState = StartsState()
    random = check_random_state(model.random_state)
    start = user_start(model, source.n_features)
    if writer is not None:
        saved, task = resume_fit(model, writer, source, task, random)
        if saved is not None and saved.content.progress is None:
            model._state = restore_state(saved)
            _warn_unless_converged(model)
            return
        if saved is not None:
            progress, random = saved.content.progress, np.random.RandomState()
            random.set_state(task.random)
    context = FitContext(
        source=source,
        settings=settings,
        task=task,
        n_components=model.n_components,
        n_init=model.n_init,
        init_params=model.init_params,
        max_iter=model.max_iter,
        split_merge=model.split_merge,
        random=random,
        user_start=start,
    )
    final = _run_phases(model, context, progress, writer)
    state = _summarize_final_pass(context, final, model._state.generation)
    model._state = state
    if writer is not None:
        written = write_content(writer, make_generation(model, state, task))
        model._state = mark_written(state, writer, written)
    if task.algorithm == "stepwise":
        StorageOrderMonitor(final.notes.segments).warn()
    _warn_unless_converged(model)


def _run_phases(
    model: GaussianMixture, context: FitContext, progress: FitState, writer: CheckpointWriter | None
) -> FinalPassState:
    """Run the phases of a fit with a progress bar and checkpoints; an interrupted model keeps what it has learnt."""
    generation = model._state.generation

    def summarize_progress(progress: FitState) -> FittedState:
        trajectory, restarts = progress.summarize(context), progress.notes.restarts
        if trajectory is None:
            return model._state
        return summarize_fit(
            context.source,
            context.settings,
            trajectory,
            trajectory.accumulated,
            context.task.algorithm,
            restarts,
            generation,
        )

    def make_content(progress: FitState) -> ModelGeneration:
        return make_generation(model, summarize_progress(progress), context.task, progress)

    def adopt_progress(progress: FitState, written: Generation | None) -> None:
        model._state = mark_written(summarize_progress(progress), writer, written)

    with (
        Progress(context.source.n_rows, model.verbose, model.verbose_interval) as display,
        CheckpointSession("fit", writer, progress, make_content, adopt_progress) as session,
    ):

        def watch(event: Event | None, progress: FitState) -> None:
            if event is not None:
                display.watch(event)
            session.watch(progress)

        final: FinalPassState = run_phases(make_fit_phases(context), progress, watch)
    return final


def _summarize_final_pass(
    context: FitContext, final: FinalPassState, generation: tuple[str, int] | None
) -> FittedState:
    """Return the state of the winner, with the statistics of partitions if its algorithm keeps them."""
    winner, partitions, source = final.winner, context.plan()[-1].partitions, context.source
    state = summarize_fit(
        source,
        context.settings,
        winner,
        final.expectation,
        context.task.algorithm,
        final.notes.restarts,
        generation,
    )
    if partitions is None or not isinstance(winner.state, IncrementalState):
        return state
    return replace(state, partition_statistics=PartitionStatistics(partitions, winner.state, source.weighted))


def _warn_unless_converged(model: GaussianMixture) -> None:
    if not model.converged_ and model.max_iter > (model.algorithm_ == "stepwise"):
        warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=6)


def _fit_once(model: GaussianMixture, source: Source, settings: EMSettings, is_warm: bool) -> FittedState:
    """Return the state after stepwise EM over an iterator: a start from the first rows, then all of them once."""
    k, d, seed = model.n_components, source.n_features, draw_seed(model.random_state)
    rest: Reading = source
    restarts = None
    if is_warm:
        stream = streaming.start_stream(check_warm_start(get_parameters(model), k, d), settings)
    else:
        pending, rest = streaming.collect_rows(streaming.PendingRows(), source, choose_subsample_size(k, d))
        if pending.n_rows < max(2, k):
            raise InputError(TOO_FEW_ROWS.format(max(2, k), pending.n_rows))
        stream, restarts = start_stream(model, settings, pending, d, seed)

    def observe(now: streaming.Stream) -> None:
        nonlocal stream
        stream = now

    def summarize(stream: streaming.Stream, *, is_complete: bool) -> FittedState:
        accumulated = stream.state.accumulated
        if accumulated is None:
            raise InputError(NO_WEIGHT)
        bounds = (compute_bound(accumulated, stream.reported) / accumulated.likelihood.weight,) if is_complete else ()
        single = Trajectory(stream.reported, bounds, history=stream.history)
        state = summarize_fit(source, settings, single, accumulated, "stepwise", restarts, model._state.generation)
        return summarize_stream(state, stream, settings)

    try:
        search = None if is_warm else make_restart(model, settings, d)
        stream = streaming.learn_rows(stream, rest, settings, seed, "stepwise", observe=observe, search=search)
    except KeyboardInterrupt:
        if stream.state.accumulated is not None:
            model._state = summarize(streaming.report_stream(stream, settings), is_complete=False)
        raise
    return summarize(stream, is_complete=True)


def summarize_fit(
    source: Source,
    settings: EMSettings,
    trajectory: Trajectory,
    accumulated: Expectation | None,
    algorithm: str,
    restarts: Restarts | None = None,
    generation: tuple[str, int] | None = None,
) -> FittedState:
    """Return the state of a fit; ``accumulated`` is of all rows, unless the fit was left before its end."""
    parameters = trajectory.parameters
    criteria: Criteria = {}
    if accumulated is not None:
        free, likelihood = n_parameters(settings.structure, *parameters.means.shape), accumulated.likelihood
        if likelihood.version is not None:
            criteria["exact"] = Criterion.from_likelihood(likelihood, free)
        criteria["bound"] = Criterion(compute_bound(accumulated, parameters), None, likelihood.weight, free)
    return FittedState(
        **make_public_arrays(parameters, settings.structure, choose_float_dtype(source.dtype)),
        **read_features(source),
        converged=trajectory.converged,
        n_iter=len(trajectory.lower_bounds),
        lower_bound=trajectory.lower_bound,
        lower_bounds=trajectory.lower_bounds,
        n_samples_seen=_count_rows_learnt(trajectory, source) if accumulated is None else accumulated.likelihood.rows,
        criteria=criteria,
        history=trajectory.history,
        restarts=restarts,
        algorithm=algorithm,
        accumulated=accumulated,
        generation=generation,
    )


def _count_rows_learnt(trajectory: Trajectory, source: Source) -> int:
    """Return the rows of a fit that was left: all, or those of its updates if its first pass has not ended."""
    if trajectory.lower_bounds and source.n_rows is not None:
        return source.n_rows
    records = list(trajectory.history)
    return sum(record.rows for record in (records[-1:] if trajectory.lower_bounds else records))
