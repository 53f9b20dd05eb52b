"""A fit that was killed ends in the same bits as one that was not; a stream learns every batch exactly once."""

import copy
import os
import pickle
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import joblib
import numpy as np
import pytest
from resuming import Case, Killed, content, killed_after, resumed, small, uninterrupted
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from streamgmm import Checkpoint, GaussianMixture, load
from streamgmm.algorithms import ALGORITHMS
from streamgmm.errors import (
    CheckpointError,
    CheckpointLocked,
    CheckpointMismatch,
    CheckpointWarning,
    CheckpointWriteError,
    InputError,
    SinglePassError,
)
from streamgmm.persistence.session import Interruption
from streamgmm.persistence.store import generations

CASES = int(os.environ.get("STREAMGMM_RESUMED", "16"))  # 300 in full
FEEDS = int(os.environ.get("STREAMGMM_FED", "3"))  # 100 in full


@pytest.mark.parametrize(
    "seed", [*range(CASES)[:6], *(pytest.param(seed, marks=pytest.mark.long) for seed in range(CASES)[6:])]
)
def test_a_killed_fit_ends_in_the_same_bits(tmp_path, seed):
    case, random = Case.drawn(seed), np.random.default_rng(seed)
    resumed_model, places = resumed(case, tmp_path / "fit.ckpt", random, int(random.integers(1, 4)))
    assert places
    assert content(resumed_model) == uninterrupted(seed)[0]


def test_kills_come_at_every_phase():
    """Or the law above would hold of less than it says."""
    found = set()
    for seed in range(CASES):
        found.update(uninterrupted(seed)[1])
        if found == {"StartsState", "EMState", "RefinementState", "FinalPassState"}:
            return
    raise AssertionError(f"only {found}")


def rows_of(n=900, seed=0, d=2):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) + random.choice([-5, 5], size=(n, 1))


def killed_fit(folder, rows, chunk_groups=2, **settings):
    """A fit of two components that was killed."""
    settings = {"n_components": 2, "random_state": 0, "algorithm": "batch", "tol": 0.0, "max_iter": 5} | settings
    with small(), killed_after(chunk_groups), pytest.raises(Killed):
        GaussianMixture(checkpoint=Checkpoint(folder, batches=1), **settings).fit(rows)
    return GaussianMixture(checkpoint=Checkpoint(folder, batches=1), **settings)


def test_any_generation_that_is_there_leads_to_the_same_bits(tmp_path):
    folder, rows = tmp_path / "fit.ckpt", rows_of()
    model = killed_fit(folder, rows, 9)
    whole = clone(model).set_params(checkpoint=None)
    with small():
        whole.fit(rows)
        for generation in generations(folder)[:-1]:
            (folder / generation.name).unlink()
        model.fit(rows)
    assert content(model) == content(whole)


@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS])
def test_every_algorithm_resumes_to_the_same_bits(tmp_path, algorithm):
    rows = rows_of()
    model = killed_fit(tmp_path / "fit.ckpt", rows, 4, algorithm=algorithm, batch_size=100)
    whole = clone(model).set_params(checkpoint=None)
    with small():
        whole.fit(rows)
        model.fit(rows)
    assert content(model) == content(whole)


def test_an_ended_fit_is_not_fitted_again(tmp_path):
    folder, rows = tmp_path / "fit.ckpt", rows_of()
    first = GaussianMixture(2, checkpoint=folder, random_state=0).fit(rows)
    again = GaussianMixture(2, checkpoint=folder, random_state=0)
    with killed_after(0) as seen:
        again.fit(rows)
    assert seen == []
    assert content(again) == content(first)


def test_a_model_fits_anew_what_it_has_fitted_itself(tmp_path):
    rows = rows_of()
    model = GaussianMixture(2, checkpoint=tmp_path / "fit.ckpt", random_state=0).fit(rows)
    other = rows_of(seed=1)
    model.fit(other)
    np.testing.assert_array_equal(model.means_, GaussianMixture(2, random_state=0).fit(other).means_)


def test_a_warm_start_continues_from_the_model_and_not_from_the_checkpoint(tmp_path):
    rows = rows_of()
    settings = {"algorithm": "batch", "tol": 0.0, "max_iter": 2, "warm_start": True, "random_state": 0}
    kept, plain = GaussianMixture(2, checkpoint=tmp_path / "fit.ckpt", **settings), GaussianMixture(2, **settings)
    for _ in range(3):
        for model in (kept, plain):
            with pytest.warns(ConvergenceWarning):
                model.fit(rows)
    assert content(kept) == content(plain)


def test_a_resumed_fit_may_have_more_passes(tmp_path):
    rows = rows_of()
    model = killed_fit(tmp_path / "fit.ckpt", rows, 9)
    with small():
        model.set_params(max_iter=8).fit(rows)
    assert model.n_iter_ == 8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_components": 3}, r"n_components=2, not 3; set it back"),
        ({"covariance_type": "diag"}, "covariance_type='full', not 'diag'"),
        ({"reg_covar": 1e-3}, "reg_covar=1e-06"),
        ({"random_state": 1}, "random_state=0"),
        ({"means_init": [[0.0, 0.0], [1.0, 1.0]]}, "another means_init"),
        ({"batch_size": 100}, "batch_size='auto'"),
    ],
)
def test_other_settings_are_refused_with_the_remedy(tmp_path, settings, words):
    rows = rows_of()
    model = killed_fit(tmp_path / "fit.ckpt", rows)
    with pytest.raises(CheckpointMismatch, match=words) as caught:
        model.set_params(**settings).fit(rows)
    assert "resume='never'" in str(caught.value)
    assert not hasattr(model, "means_")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[:-1], "899 rows, not 900"),
        (lambda rows: rows[:, :1], "1 features, not 2"),
        (lambda rows: rows.astype("f4"), "dtype float32, not float64"),
        (lambda rows: rows + 1e-9, "other values"),
    ],
)
def test_other_rows_are_refused_with_the_remedy(tmp_path, change, words):
    rows = rows_of()
    model = killed_fit(tmp_path / "fit.ckpt", rows)
    with pytest.raises(CheckpointMismatch, match=words), small():
        model.fit(change(rows))


def test_other_weights_are_other_rows(tmp_path):
    model = killed_fit(tmp_path / "fit.ckpt", rows_of())
    with pytest.raises(CheckpointMismatch, match="other values"), small():
        model.fit(rows_of(), sample_weight=np.ones(900))


def test_resume_never_begins_anew_and_must_needs_something(tmp_path):
    rows, folder = rows_of(), tmp_path / "fit.ckpt"
    with pytest.raises(CheckpointError, match="resume='must'"):
        GaussianMixture(2, checkpoint=folder, resume="must").fit(rows)
    model = killed_fit(folder, rows)
    with small(), killed_after(None) as seen:
        model.set_params(resume="never").fit(rows)
    assert seen[0] == "StartsState"
    with small():
        assert clone(model).set_params(resume="must").fit(rows).n_iter_ == 5


def test_a_damaged_generation_is_passed_over_loudly_and_none_valid_is_an_error(tmp_path):
    rows, folder = rows_of(), tmp_path / "fit.ckpt"
    model = killed_fit(folder, rows, 9)
    newest, *_ = generations(folder)
    (folder / newest.name).write_bytes(b"torn")
    with small():
        whole = clone(model).set_params(checkpoint=None).fit(rows)
        with pytest.warns(CheckpointWarning, match="older one"):
            clone(model).fit(rows)
    for other in generations(folder):
        (folder / other.name).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="none is valid"):
        model.fit(rows)
    with pytest.raises(CheckpointError, match="none is valid"):
        load(folder)
    assert whole.n_iter_ == 5


def test_a_fit_that_was_killed_can_be_loaded_and_used(tmp_path):
    rows, folder = rows_of(), tmp_path / "fit.ckpt"
    killed_fit(folder, rows, 14)
    model = load(folder)
    assert (model.converged_, model.n_samples_seen_) == (False, 900)
    assert model.n_iter_ >= 1
    model.predict(rows)
    with small():
        model.fit(rows)  # its setting is the folder
    assert model.n_iter_ == 5


def test_a_folder_may_be_moved(tmp_path):
    rows = rows_of()
    killed_fit(tmp_path / "fit.ckpt", rows, 14)
    (tmp_path / "fit.ckpt").rename(tmp_path / "moved.ckpt")
    with small():
        assert load(tmp_path / "moved.ckpt").fit(rows).n_iter_ == 5


def test_a_fit_of_no_pass_is_loaded_unfitted(tmp_path):
    rows = rows_of()
    killed_fit(tmp_path / "fit.ckpt", rows, 0)
    model = load(tmp_path / "fit.ckpt")
    assert not hasattr(model, "means_")
    assert model.n_components == 2


def test_an_empty_folder_is_nothing_to_load(tmp_path):
    with pytest.raises(CheckpointError, match="nothing to load"):
        load(tmp_path)


def test_an_iterator_that_cannot_be_read_again_is_refused(tmp_path):
    with pytest.raises(SinglePassError, match="partial_fit"):
        GaussianMixture(2, algorithm="stepwise", checkpoint=tmp_path / "c").fit(iter([rows_of()]))


@pytest.mark.parametrize("setting", [{"seconds": -1.0}, {"batches": 0}, {"kept": 2}])
def test_a_checkpoint_that_cannot_be_meant_is_refused(setting):
    with pytest.raises(InputError):
        Checkpoint("fit.ckpt", **setting)


def test_two_fits_do_not_share_a_checkpoint(tmp_path):
    rows, folder = rows_of(), tmp_path / "fit.ckpt"
    model = GaussianMixture(2, checkpoint=folder).partial_fit(rows)
    with pytest.raises(CheckpointLocked):
        GaussianMixture(2, checkpoint=folder).fit(rows)
    with pytest.raises(CheckpointLocked):
        copy.deepcopy(model).partial_fit(rows)
    with pytest.raises(CheckpointLocked):
        pickle.loads(pickle.dumps(model)).partial_fit(rows)
    del model
    assert copy.deepcopy(load(folder)).partial_fit(rows).n_samples_seen_ == 1800


def test_clones_in_parallel_do_not_share_a_checkpoint(tmp_path):
    rows = rows_of(20_000)
    model = GaussianMixture(2, checkpoint=tmp_path / "fit.ckpt", random_state=0, tol=0.0, max_iter=50)

    def fitted(_):
        try:
            return clone(model).fit(rows)
        except CheckpointError as error:
            return type(error)

    with ThreadPoolExecutor(4) as pool, pytest.warns(ConvergenceWarning):
        found = list(pool.map(fitted, range(4)))
    assert CheckpointLocked in found


def test_a_search_over_settings_is_refused_one_checkpoint_for_all(tmp_path):
    search = GridSearchCV(
        GaussianMixture(2, checkpoint=tmp_path / "fit.ckpt"), {"n_components": [1, 2]}, cv=2, error_score="raise"
    )
    with pytest.raises(CheckpointMismatch):
        search.fit(rows_of())


def test_a_kept_model_is_pickled_copied_and_dumped_as_any_other(tmp_path):
    rows = rows_of()
    model = GaussianMixture(2, checkpoint=tmp_path / "fit.ckpt", random_state=0).partial_fit(rows, token=1)
    joblib.dump(model, tmp_path / "model.joblib")
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(other.predict(rows), model.predict(rows))
        assert other.durable_token_ == 1


def test_a_full_disk_does_not_end_a_fit_and_is_an_error_at_its_end(tmp_path, monkeypatch):
    rows, folder = rows_of(), tmp_path / "fit.ckpt"
    model = GaussianMixture(2, random_state=0, checkpoint=Checkpoint(folder, batches=1))
    plain = clone(model).set_params(checkpoint=None).fit(rows)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.warns(CheckpointWarning, match="No space left"), pytest.raises(CheckpointWriteError, match="Make room"):
        model.fit(rows)
    monkeypatch.undo()
    assert content(model) == content(plain)
    assert [path.name for path in folder.iterdir()] == ["LOCK"]


# ---------------------------------------------------------------------- streams


def batches_of(seed, n=24):
    random = np.random.default_rng(seed)
    return [rows_of(int(random.integers(1, 120)), seed=1000 * seed + number) for number in range(n)]


@pytest.mark.parametrize("seed", range(FEEDS))
@pytest.mark.parametrize("setting", [{}, {"window": 400}, {"half_life": 200.0}])
def test_an_at_least_once_feed_is_learnt_exactly_once(tmp_path, seed, setting):
    batches, random = batches_of(seed), np.random.default_rng(seed)
    settings = {"n_components": 2, "random_state": 0, "batch_size": 50} | setting
    whole = GaussianMixture(**settings)
    for number, batch in enumerate(batches):
        whole.partial_fit(batch, token=number)
    checkpoint = Checkpoint(tmp_path / "stream.ckpt", batches=int(random.integers(1, 5)))
    feed, durable, stop = list(enumerate(batches)), -1, 0
    while stop < len(batches):
        model = GaussianMixture(**settings, checkpoint=checkpoint)
        begin = int(random.integers(0, durable + 2))  # whatever was sent since then is sent again
        stop = int(random.integers(begin + 1, len(batches) + 6))
        for number, batch in feed[begin:stop]:
            model.partial_fit(batch, token=number)
        earlier, durable = durable, getattr(model, "durable_token_", -1)
        assert durable >= max(earlier, min(stop, len(batches)) - 1 - checkpoint.batches)
        content_at_the_end = content(model)
        n_rows = model.n_samples_seen_
        del model  # killed
    assert n_rows == sum(map(len, batches))
    assert content_at_the_end == content(whole)


def test_a_token_that_is_durable_is_in_the_generation_that_is_on_disk(tmp_path):
    folder = tmp_path / "stream.ckpt"
    model = GaussianMixture(2, random_state=0, checkpoint=Checkpoint(folder, batches=3))
    for number, batch in enumerate(batches_of(0)):
        model.partial_fit(batch, token=f"day {number}")
        held = load(folder) if generations(folder) else None
        assert getattr(model, "durable_token_", None) == getattr(held, "durable_token_", None)
    assert model.durable_token_ == "day 23"


@pytest.mark.parametrize("learnt", [0, 20])
@pytest.mark.parametrize("batches_a_generation", [None, 1])
def test_a_batch_that_cannot_be_kept_is_not_learnt_and_the_next_is_kept_at_once(
    tmp_path, monkeypatch, batches_a_generation, learnt
):
    batches = batches_of(1)
    model = GaussianMixture(2, random_state=0).fit(np.concatenate(batches[:3]))
    model.set_params(checkpoint=Checkpoint(tmp_path / "stream.ckpt", batches=batches_a_generation))
    for number, batch in enumerate(batches[:learnt]):
        model.partial_fit(batch, token=number)
    if batches_a_generation is None and learnt:  # however long ago the last generation was written
        monkeypatch.setattr(model._writer, "_written_at", -1e9)
    before = content(copy.deepcopy(model))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointWriteError, match="No space left"):
        model.partial_fit(batches[20], token=20)
    monkeypatch.undo()
    assert content(copy.deepcopy(model)) == before
    assert model.partial_fit(batches[20], token=20).durable_token_ == 20
    assert load(tmp_path / "stream.ckpt").durable_token_ == 20


def test_a_stream_continues_from_a_fit_that_has_ended(tmp_path):
    rows, folder = rows_of(), tmp_path / "fit.ckpt"
    plain = GaussianMixture(2, random_state=0).fit(rows).partial_fit(rows)
    GaussianMixture(2, random_state=0, checkpoint=folder).fit(rows)
    model = GaussianMixture(2, random_state=0, checkpoint=Checkpoint(folder, batches=1)).partial_fit(rows)
    assert content(copy.deepcopy(model)) == content(plain)
    assert load(folder).n_samples_seen_ == 1800


def test_what_a_checkpoint_holds_is_not_replaced_by_something_else(tmp_path):
    rows, folder = rows_of(), tmp_path / "stream.ckpt"
    GaussianMixture(2, random_state=0, checkpoint=folder).partial_fit(rows)
    with pytest.raises(CheckpointMismatch, match="call partial_fit"):
        GaussianMixture(2, random_state=0, checkpoint=folder).fit(rows)
    with pytest.raises(CheckpointMismatch, match="read it with GaussianMixture"):
        GaussianMixture(2, random_state=0).fit(rows).set_params(checkpoint=folder).partial_fit(rows)
    killed_fit(tmp_path / "fit.ckpt", rows)
    with pytest.raises(CheckpointMismatch, match="resume it with fit"):
        GaussianMixture(2, random_state=0, checkpoint=tmp_path / "fit.ckpt").partial_fit(rows)


def test_a_revision_is_kept_too(tmp_path):
    rows, folder = rows_of(3000), tmp_path / "fit.ckpt"
    settings = {"algorithm": "incremental", "random_state": 0, "batch_size": 200}
    model = GaussianMixture(2, checkpoint=Checkpoint(folder, batches=1), **settings).fit(rows[:2000])
    model.update(rows).withdraw((0, 500), rows)
    del model
    resumed_model = load(folder).withdraw((500, 700), rows)
    plain = GaussianMixture(2, **settings).fit(rows[:2000]).update(rows).withdraw((0, 500), rows)
    assert content(resumed_model) == content(plain.withdraw((500, 700), rows))


# ---------------------------------------------------------------------- Ctrl-C


def interrupted_in_batch(place):
    """Batches of which one sends the signal that Ctrl-C sends, while it is read."""
    rows = rows_of(1000)
    passes = iter(range(100))

    def batches():
        number = next(passes)
        for index, batch in enumerate(np.split(rows, 10)):
            if (number, index) == place:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)  # until the main thread has seen it
            yield batch

    return batches


def test_ctrl_c_finishes_the_batch_and_writes_a_generation(tmp_path):
    folder = tmp_path / "fit.ckpt"
    settings = {"n_components": 2, "random_state": 0, "algorithm": "batch", "tol": 0.0, "max_iter": 4}
    model = GaussianMixture(checkpoint=folder, **settings)
    with pytest.raises(KeyboardInterrupt) as caught:
        model.fit(interrupted_in_batch((3, 4)))  # pass 0 finds its first rows, 1 a start
    assert "goes on from generation" in caught.value.__notes__[0]
    assert (model.converged_, model.n_samples_seen_) == (False, 1000)
    assert model.n_iter_ >= 1
    assert content(load(folder)) == content(copy.deepcopy(model))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.warns(ConvergenceWarning):
        model.fit(interrupted_in_batch(None))
        whole = GaussianMixture(**settings).fit(interrupted_in_batch(None))
    assert content(model) == content(whole)


def test_a_first_ctrl_c_waits_and_a_second_one_does_not():
    with Interruption() as interruption:
        interruption.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_program_keeps_its_own_handler_of_ctrl_c(tmp_path):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        model = GaussianMixture(2, checkpoint=tmp_path / "fit.ckpt", random_state=0)
        model.fit(interrupted_in_batch((1, 4)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]


def test_a_stepwise_fit_that_is_interrupted_in_its_only_pass_is_what_its_batches_have_made_of_it():
    model = GaussianMixture(2, random_state=0, algorithm="stepwise", max_iter=1, batch_size=50, averaging=True)
    with small(), pytest.raises(KeyboardInterrupt):
        model.fit(interrupted_in_batch((1, 9)))  # pass 0 finds a start
    assert 400 <= model.n_samples_seen_ < 1000
    assert (model.converged_, model.n_iter_) == (False, 0)
    assert list(model.criteria_) == ["bound"]
    assert np.abs(np.sort(model.means_[:, 0]) - [-5, 5]).max() < 0.5


# ---------------------------------------------------------------------- what a fit may begin with


@pytest.mark.parametrize("state", [None, "instance"])
def test_draws_that_no_integer_seeds_are_kept_too(tmp_path, state):
    """One killed fit is resumed twice, from random generators in different states."""
    rows = rows_of()
    for chunk_groups in (0, 3, 8):
        folder = tmp_path / f"{chunk_groups}.ckpt"
        drawn = np.random.RandomState(chunk_groups) if state == "instance" else None
        killed_fit(folder, rows, chunk_groups, random_state=drawn, init_params="auto")
        shutil.copytree(folder, tmp_path / f"{chunk_groups}.copy")
        found = []
        for place in (folder, tmp_path / f"{chunk_groups}.copy"):
            drawn = np.random.RandomState(99) if state == "instance" else None
            settings = {"random_state": drawn, "algorithm": "batch", "tol": 0.0, "max_iter": 5}
            with small():
                found.append(GaussianMixture(2, checkpoint=place, **settings).fit(rows))
        np.testing.assert_array_equal(found[0].means_, found[1].means_)


def test_a_killed_warm_start_resumes_from_its_start(tmp_path):
    rows = rows_of()
    settings = {"algorithm": "batch", "tol": 0.0, "max_iter": 4, "warm_start": True, "random_state": 0}
    with small():
        GaussianMixture(2, **settings).fit(rows[:300]).save(tmp_path / "begun")
        whole = load(tmp_path / "begun").fit(rows)
        for chunk_groups in (0, 5, 9):
            folder = Checkpoint(tmp_path / f"{chunk_groups}.ckpt", batches=1)
            with killed_after(chunk_groups), pytest.raises(Killed):
                load(tmp_path / "begun").set_params(checkpoint=folder).fit(rows)
            resumed_model = load(tmp_path / "begun").set_params(checkpoint=folder).fit(rows)
            assert content(resumed_model) == content(whole)
        other = GaussianMixture(2, **settings).fit(rows[300:]).set_params(checkpoint=folder)
        with killed_after(5), pytest.raises(Killed):
            load(tmp_path / "begun").set_params(checkpoint=folder, resume="never").fit(rows)
        with pytest.raises(CheckpointMismatch, match="began elsewhere"):
            other.fit(rows)


def test_a_fit_of_chunks_of_unknown_lengths_resumes(tmp_path):
    rows = da.from_array(rows_of(), (90, 2))
    rows = rows[rows[:, 0] > -5]
    assert np.isnan(rows.shape[0])
    for algorithm in ("batch", "stepwise"):
        settings = {"algorithm": algorithm, "tol": 0.0, "max_iter": 3, "batch_size": 50, "random_state": 0}
        with small():
            whole = GaussianMixture(2, **settings).fit(rows)
            folder = Checkpoint(tmp_path / f"{algorithm}.ckpt", batches=1)
            with killed_after(9), pytest.raises(Killed):
                GaussianMixture(2, checkpoint=folder, **settings).fit(rows)
            assert content(GaussianMixture(2, checkpoint=folder, **settings).fit(rows)) == content(whole)


def test_a_setting_that_cannot_be_kept_is_refused_before_the_fit(tmp_path):
    class Own:
        averages = True

        def __call__(self, rows, new, size):
            return 0.5

    model = GaussianMixture(2, step_size=Own(), algorithm="stepwise", checkpoint=tmp_path / "fit.ckpt")
    with pytest.raises(InputError, match="Own cannot be saved"):
        model.fit(rows_of())
    assert not (tmp_path / "fit.ckpt").exists()


def test_a_refit_has_no_token_of_the_stream_before(tmp_path):
    rows = rows_of()
    model = GaussianMixture(2, random_state=0, checkpoint=tmp_path / "fit.ckpt").partial_fit(rows, token=1)
    assert not hasattr(model.fit(rows), "durable_token_")
    assert not hasattr(load(tmp_path / "fit.ckpt"), "durable_token_")


def test_an_iterator_that_is_interrupted_has_taught_what_it_has_yielded(monkeypatch):
    monkeypatch.setattr("streamgmm.estimator.complete_fit.choose_subsample_size", lambda k, d: 400)
    model = GaussianMixture(2, random_state=0, algorithm="stepwise", batch_size=50)
    with small(), pytest.raises(KeyboardInterrupt):
        model.fit(iter(interrupted_in_batch((0, 9))()))
    assert 400 <= model.n_samples_seen_ < 1000
    assert (model.converged_, model.n_iter_) == (False, 0)
    model.partial_fit(rows_of(1000)[-100:])
    assert np.abs(np.sort(model.means_[:, 0]) - [-5, 5]).max() < 0.5
