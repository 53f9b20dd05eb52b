"""A selection killed after any chunk group ends in the same bits as an uninterrupted one."""

import shutil
from functools import cache
from unittest import mock

import dask.array as da
import numpy as np
import pytest
from resuming import Killed, killed_after, small

from streamgmm import Checkpoint, GaussianMixture, load, select
from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.sources import as_source
from streamgmm.errors import CheckpointError, CheckpointLocked, CheckpointMismatch, CheckpointWarning
from streamgmm.estimator.saved_model import SavedModel
from streamgmm.initialization.starts_per_size import StartsOfSize
from streamgmm.iteration.run import start_run
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import make_parameters
from streamgmm.model.information_criteria import CRITERIA
from streamgmm.persistence.codec import decode, encode
from streamgmm.persistence.container import to_bytes
from streamgmm.persistence.session import CheckpointSession, encode_content
from streamgmm.persistence.store import generations
from streamgmm.selection.context import SelectionContext
from streamgmm.selection.race_state import RaceState
from streamgmm.selection.racing import RacePhase
from streamgmm.selection.saved_selection import load_running_selection


def rows_of(n=900, seed=0, d=2):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) + random.choice([-5, 0, 5], size=(n, 1))


CASES = {
    "bic": {"covariance_types": ("full", "diag"), "max_iter": 9},
    "heldout, weighted, from several starts": {
        "criterion": "heldout",
        "n_init": 2,
        "sample_weight": np.random.default_rng(1).integers(1, 4, 900).astype(float),
        "max_iter": 4,
    },
    "plain EM by AIC": {"criterion": "aic", "tol": 1e-2, "init_params": "kmeans", "max_iter": 12},
}


def selected(case, checkpoint=None, rows=None, **settings):
    rows = rows_of() if rows is None else rows
    with small():
        settings = {"random_state": 0, **CASES[case], **settings}
        return select(da.from_array(rows, chunks=(150, 2)), [1, 3, 4], checkpoint=checkpoint, **settings)


def content(found):
    """All that a selection is."""
    models = [
        None if model is None else to_bytes(*encode_content(SavedModel.from_model(model))) for model in found.models
    ]
    columns = {name: column.tobytes() for name, column in found.table.items()}
    return models, columns, found.criterion, found.models.index(found.best)


@cache
def whole(case):
    """Return the content of an uninterrupted selection and its chunk groups."""
    with killed_after(None) as seen:
        return content(selected(case)), seen


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Copy into a folder the checkpoint of a selection that was killed in its race; the selection runs once."""
    made = {}

    def left(folder, random_state=0):
        if random_state not in made:
            made[random_state] = tmp_path_factory.mktemp("killed") / "choice.ckpt"
            with killed_after(9), pytest.raises(Killed):
                selected("bic", Checkpoint(made[random_state], batches=1), random_state=random_state)
        shutil.copytree(made[random_state], folder, dirs_exist_ok=True)

    return left


@pytest.mark.parametrize("case", CASES)
def test_killed_after_every_chunk_group_in_turn_a_selection_ends_in_the_same_bits(tmp_path, case):
    expected, seen = whole(case)
    assert set(seen) == {"SelectionStartsState", "RaceState", "SelectionFinalState"}
    lives = 0
    while True:  # each life takes one more chunk group than the one before had written
        with killed_after(1):
            try:
                found = selected(case, Checkpoint(tmp_path / "choice.ckpt", batches=1))
                break
            except Killed:
                lives += 1
    assert lives >= len(seen) // 2
    assert content(found) == expected


def test_generations_that_are_written_seldom_lead_to_the_same_bits(tmp_path):
    """Copy the checkpoint after each of some chunk groups of one run, which the last kill ends."""
    folder, watch, seen, earlier = tmp_path / "choice.ckpt", CheckpointSession.watch, [], (1, 6, 13)

    def watched(guard, fit_state):
        watch(guard, fit_state)
        if len(seen) in earlier:
            shutil.copytree(folder, tmp_path / str(len(seen)))
        seen.append(fit_state)

    with mock.patch.object(CheckpointSession, "watch", watched), killed_after(20), pytest.raises(Killed):
        selected("bic", Checkpoint(folder, batches=5))
    for left in (*(tmp_path / str(chunk_groups) for chunk_groups in earlier), folder):
        assert content(selected("bic", Checkpoint(left, batches=3))) == whole("bic")[0], left


def test_a_race_with_a_degenerate_candidate_resumes_from_any_chunk_group():
    rows = np.concatenate([np.repeat([[0.0, 0.0], [9.0, 9.0]], 60, axis=0), rows_of(80)])
    full, diag = STRUCTURES["full"], STRUCTURES["diag"]
    weights, means = np.full(2, 0.5), np.array([[0.0, 0.0], [9.0, 9.0]])
    collapsing = make_parameters(weights, means, np.stack([np.eye(2)] * 2), full)  # onto rows that are alike
    steady = make_parameters(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)), diag)
    wide = make_parameters(weights, 3.0 * means - 9.0, np.full((2, 2), 30.0), diag)
    keys = (("diag", 1), ("full", 2), ("diag", 2))
    starts = tuple(StartsOfSize((start,)) for start in (steady, collapsing, wide))
    source = as_source(da.from_array(rows, chunks=(50, 2)))
    settings = EMSettings(full, 0.0, tol=1e-4)
    context = SelectionContext(source, settings, keys, 1, "auto", 30, CRITERIA["bic"], None, True, 0, None)

    def race(state, observe):
        with small(), np.errstate(all="ignore"):
            return RacePhase(context).run(state, observe).race

    states = []
    begin = RaceState(starts, np.full((3, 2), np.nan), (0, 1, 2), start_run([steady, collapsing, wide]))
    whole = race(begin, lambda event, state: states.append(state))
    assert whole.degenerate == (1,)
    assert any(1 in state.candidates for state in states) and any(1 not in state.candidates for state in states)
    for state in states:
        arrays = {}
        manifest = encode(state, "race", arrays)
        again = race(decode(manifest, arrays, RaceState), lambda event, state: None)
        assert again.degenerate == (1,)
        for index, trajectory in whole.trajectories.items():
            np.testing.assert_array_equal(again.trajectories[index].parameters.means, trajectory.parameters.means)
            assert again.trajectories[index].lower_bounds == trajectory.lower_bounds


def test_an_ended_selection_reads_nothing_again(tmp_path):
    folder = tmp_path / "choice.ckpt"
    first = selected("bic", folder)
    with killed_after(0) as seen:
        again = selected("bic", folder)
    assert seen == []
    assert content(again) == content(first)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"criterion": "aic"}, "criterion='bic', not 'aic'; set it back"),
        ({"covariance_types": ["full"]}, r"covariance_types=\('full', 'diag'\), not \('full',\)"),
        ({"n_init": 2}, "n_init=1, not 2"),
        ({"max_iter": 10}, "max_iter=9, not 10"),
        ({"random_state": 1}, "random_state=0, not 1"),
        ({"effective_n": 100}, "effective_n=None, not 100"),
        ({"rows": rows_of(seed=1)}, "selection of other rows: X has other values"),
        ({"rows": rows_of(899)}, "899 rows, not 900"),
        ({"sample_weight": np.ones(900)}, "other values"),
    ],
)
def test_other_arguments_and_rows_are_refused_with_the_remedy(tmp_path, killed, change, words):
    killed(tmp_path / "choice.ckpt")
    with pytest.raises(CheckpointMismatch, match=words) as caught:
        selected("bic", tmp_path / "choice.ckpt", **change)
    assert "resume='never'" in str(caught.value)
    selected("bic", tmp_path / "choice.ckpt")  # nothing was lost


def test_a_selection_without_a_seed_resumes(tmp_path, killed):
    folder = tmp_path / "choice.ckpt"
    killed(folder, random_state=None)
    contents = []
    for place in range(2):
        shutil.copytree(folder, tmp_path / str(place))
        contents.append(content(selected("bic", tmp_path / str(place), random_state=None)))
    assert contents[0] == contents[1]


def test_resume_never_begins_anew_and_must_needs_something(tmp_path, killed):
    folder = tmp_path / "choice.ckpt"
    with pytest.raises(CheckpointError, match="resume='must'"):
        selected("bic", folder, resume="must")
    killed(folder)
    with killed_after(None) as seen:
        selected("bic", folder, resume="never", criterion="aic", init_params="kmeans")
    assert seen[0] == "SelectionStartsState"
    assert load_running_selection(folder).settings["criterion"] == "aic"


def test_the_checkpoint_of_a_fit_is_not_that_of_a_selection(tmp_path, killed):
    rows = rows_of()
    GaussianMixture(2, checkpoint=tmp_path / "fit.ckpt", random_state=0).fit(rows)
    with pytest.raises(CheckpointMismatch, match="holds a fit or a stream, not a selection"):
        selected("bic", tmp_path / "fit.ckpt")
    assert load_running_selection(tmp_path / "fit.ckpt") is None
    killed(tmp_path / "choice.ckpt")
    for use in (load, lambda folder: GaussianMixture(2, checkpoint=folder).fit(rows)):
        with pytest.raises(CheckpointMismatch, match="holds a selection, not a fit"):
            use(tmp_path / "choice.ckpt")


def test_a_damaged_generation_is_passed_over_loudly(tmp_path, killed):
    folder = tmp_path / "choice.ckpt"
    killed(folder)
    (folder / generations(folder)[0].name).write_bytes(b"torn")
    with pytest.warns(CheckpointWarning, match="older one"):
        assert load_running_selection(folder) is not None
    assert content(selected("bic", folder)) == whole("bic")[0]


def test_one_at_a_time(tmp_path, monkeypatch):
    folder, watch, refused = tmp_path / "choice.ckpt", CheckpointSession.watch, []

    def watched(guard, fit_state):
        watch(guard, fit_state)
        if not refused:
            with pytest.raises(CheckpointLocked) as caught:
                selected("plain EM by AIC", folder)
            refused.append(caught)

    monkeypatch.setattr(CheckpointSession, "watch", watched)
    selected("plain EM by AIC", folder)
    assert len(refused) == 1
    selected("plain EM by AIC", folder)


def test_an_interrupted_selection_reports_where_it_resumes(tmp_path, monkeypatch):
    folder, watch, seen = tmp_path / "choice.ckpt", CheckpointSession.watch, []

    def watched(guard, fit_state):
        seen.append(fit_state)
        watch(guard, fit_state)
        if len(seen) == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointSession, "watch", watched)
    with pytest.raises(KeyboardInterrupt) as caught:
        selected("bic", Checkpoint(folder, seconds=1e9))
    (note,) = caught.value.__notes__
    assert note.startswith(f"the same selection goes on from generation 1 of {folder} (in pass ")
    assert "of 6 starts are active)" in note
    monkeypatch.undo()
    assert content(selected("bic", folder)) == whole("bic")[0]
