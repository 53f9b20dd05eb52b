"""Data at rest that grows, changes and is withdrawn, under a model that was fitted incrementally."""

import tempfile
from copy import deepcopy
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from fitted_attributes import fitted_attributes
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamgmm import GaussianMixture, load
from streamgmm.errors import InputError
from streamgmm.model.covariances import STRUCTURES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

START = {
    "weights_init": np.array([0.5, 0.5]),
    "means_init": np.array([[0.0, 0.0], [4.0, 4.0]]),
    "precisions_init": np.stack([np.eye(2)] * 2),
}


def two_clusters(n, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 2)) + 4.0 * random.integers(2, size=(n, 1))


def fitted(X, **settings):
    settings = {"algorithm": "incremental", "max_iter": 2, "batch_size": 400, **START, **settings}
    return GaussianMixture(2, random_state=0, **settings).fit(X)


def chunked(X, rows, reads=None):
    """A dask array that tells which of its chunks are made."""

    def read(block_info=None):
        place = block_info[None]["chunk-location"][0]
        if reads is not None:
            reads.append(place)
        return X[place * rows : (place + 1) * rows]

    chunks = (tuple(len(X[first : first + rows]) for first in range(0, len(X), rows)), (2,))
    return da.map_blocks(read, dtype=X.dtype, chunks=chunks, meta=np.empty((0, 0), X.dtype))


def attributes(model):
    return deepcopy(fitted_attributes(model))


def assert_unchanged(model, before):
    np.testing.assert_equal(attributes(model), before)


def test_only_the_chunks_of_new_rows_are_read_and_each_once():
    X = two_clusters(5000)
    model = fitted(chunked(X[:3300], 500))
    reads = []
    model.update(chunked(X, 500, reads))
    assert sorted(reads) == [6, 7, 8, 9]  # 6 had 300 rows and has 500
    assert model.n_samples_seen_ == 5000
    model.update(chunked(X, 500, reads))
    assert len(reads) == 4, "nothing new: nothing is read"


def test_after_an_update_the_bound_covers_every_row_and_is_near_the_likelihood():
    X = two_clusters(20_000)
    model = fitted(X[:12_000])
    for n in (12_001, 15_000, 20_000):
        model.update(X[:n])
        criterion = model.criteria_["bound"]
        assert criterion.n_samples == n == model.n_samples_seen_
        exact = model.score(X[:n]) * n
        assert exact - 0.01 * n < criterion.log_likelihood <= exact + 1e-6
        assert set(model.criteria_) == {"bound"}
    anew = fitted(X)
    assert model.score(X) > anew.score(X) - 1e-4
    assert model.history_[-1].stage == "update"


@pytest.mark.parametrize("family", list(STRUCTURES))
def test_updated_rows_replace_their_former_statistics(family):
    X = two_clusters(3000)
    changed = X.copy()
    changed[1000:2000] += 1.0
    settings = {**START, "precisions_init": None, "covariance_type": family}
    model = fitted(X, **settings).update(changed, rows=slice(1000, 2000))
    for _ in range(8):  # every partition at the parameters that they lead to
        model.update(changed, rows=slice(None))
    anew = fitted(changed, algorithm="batch", max_iter=60, tol=0.0, **settings)
    assert model.n_samples_seen_ == 3000
    np.testing.assert_allclose(model.means_, anew.means_, atol=1e-4)
    np.testing.assert_allclose(model.covariances_, anew.covariances_, atol=1e-3)


def test_withdrawing_whole_partitions_reads_nothing_and_leaves_the_sum_of_the_rest():
    X = two_clusters(6000)
    model = fitted(chunked(X, 1000))
    model.withdraw(slice(2000, 4000))
    assert model.n_samples_seen_ == model.criteria_["bound"].n_samples == 4000
    left = np.concatenate([X[:2000], X[4000:]])
    assert model.criteria_["bound"].log_likelihood <= model.score(left) * 4000 + 1e-6
    model.update(chunked(X, 1000))
    assert model.n_samples_seen_ == 4000, "rows that were withdrawn are not learnt again by themselves"
    model.update(chunked(X, 1000), rows=slice(2500, 3000))
    assert model.n_samples_seen_ == 4500, "but where they are named"


class RevisionMachine(RuleBasedStateMachine):
    """With one component the model is the mean and covariance of what it was told: every row once, whatever happens."""

    most_entries = 8  # so that entries have to become one, again and again

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("streamgmm.data.partitions.MAX_PARTITIONS", self.most_entries)
        self.random = np.random.default_rng(0)

    def teardown(self):
        self.patch.undo()

    @initialize(n=st.integers(2, 200), chunk=st.sampled_from([7, 50, 1000]), batch=st.sampled_from([1, 40, 1000]))
    def begin(self, n, chunk, batch):
        self.chunk = chunk
        self.stored = self.random.normal(size=(n, 2))  # what is on disk
        self.model = GaussianMixture(1, algorithm="incremental", batch_size=batch, reg_covar=1e-9, random_state=0)
        self.model.fit(self.lazy())
        self.said = self.stored.copy()  # what the model was told
        self.learnt = np.ones(n, bool)

    def lazy(self):
        return da.from_array(self.stored, chunks=(self.chunk, 2))

    def note_read(self, partitions, first, stop):
        """Count the partitions with some of these rows as read, except withdrawn rows."""
        for place in partitions.find_overlapping(first, stop):
            for begin, end in partitions.row_ranges(int(place)):
                self.said[begin:end] = self.stored[begin:end]

    def some(self, data):
        first = data.draw(st.integers(0, len(self.learnt) - 1))
        return first, data.draw(st.integers(first + 1, len(self.learnt)))

    @rule(n=st.integers(1, 150))
    def append(self, n):
        self.stored = np.concatenate([self.stored, self.random.normal(size=(n, 2))])

    @rule(data=st.data())
    def change(self, data):
        first, stop = self.some(data)
        self.stored[first:stop] += 1.0

    @rule(data=st.data(), again=st.booleans())
    def update(self, data, again):
        known = len(self.learnt)
        rows = self.some(data) if again else None
        self.model.update(self.lazy(), rows=rows)
        new = np.ones(len(self.stored) - known, bool)
        self.learnt = np.concatenate([self.learnt, new])
        self.said = np.concatenate([self.said, self.stored[known:]])
        partitions = self.model._state.partition_statistics.partitions
        self.note_read(partitions, known, len(self.stored))
        if rows is not None:
            self.learnt[slice(*rows)] = True
            self.note_read(partitions, *rows)

    @rule(data=st.data())
    def withdraw(self, data):
        first, stop = self.some(data)
        gone = np.zeros(len(self.learnt), bool)
        gone[first:stop] = True
        stored = self.stored
        self.stored = stored[: len(self.learnt)]
        if not (self.learnt & ~gone).any():
            with pytest.raises(InputError, match="no rows"):
                self.model.withdraw((first, stop), self.lazy())
        else:
            before = self.model._state.partition_statistics.partitions
            changed = [place for place in before.find_overlapping(first, stop)]
            was = {place: before.row_ranges(int(place)) for place in changed}
            self.model.withdraw((first, stop), self.lazy())
            partitions = self.model._state.partition_statistics.partitions
            for place in changed:
                if partitions.row_ranges(int(place)) != was[place]:
                    for begin, end in partitions.row_ranges(int(place)):
                        self.said[begin:end] = self.stored[begin:end]
            self.learnt &= ~gone
        self.stored = stored

    @rule(n=st.integers(1, 20))
    def fail(self, n):
        stored = self.stored
        self.stored = np.concatenate([self.stored, np.full((n, 2), np.nan)])
        before = attributes(self.model)
        with pytest.raises(ValueError, match="NaN"):
            self.model.update(self.lazy())
        assert_unchanged(self.model, before)
        self.stored = stored

    @rule()
    def restart(self):
        with tempfile.TemporaryDirectory() as folder:
            self.model.save(Path(folder) / "model")
            self.model = load(Path(folder) / "model")

    @invariant()
    def the_model_is_what_it_was_told(self):
        rows = self.said[self.learnt]
        assert self.model.n_samples_seen_ == len(rows)
        assert self.model._state.partition_statistics.partitions.n_partitions <= max(self.most_entries, 1)
        np.testing.assert_allclose(self.model.means_[0], rows.mean(axis=0), atol=1e-9)
        if len(rows) > 2:
            np.testing.assert_allclose(self.model.covariances_[0], np.cov(rows.T, bias=True), atol=1e-8)


TestRevisions = RevisionMachine.TestCase
TestRevisions.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


def test_a_saved_model_is_revised_to_the_same_bits(tmp_path):
    X = two_clusters(5000)
    model = fitted(X[:3000]).withdraw((100, 200), X[:3000])
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    for one in (model, again):
        one.update(X).withdraw((0, 1000), X).update(X, rows=(500, 600))
    np.testing.assert_equal(attributes(again), attributes(model))


def test_weights_are_learnt_with_the_rows():
    X = two_clusters(4000)
    weights = np.random.default_rng(1).integers(1, 4, size=4000)
    model = GaussianMixture(1, algorithm="incremental", reg_covar=0.0).fit(X[:3000], sample_weight=weights[:3000])
    model.update(X, weights)
    np.testing.assert_allclose(model.means_[0], np.average(X, axis=0, weights=weights), atol=1e-12)
    assert model.criteria_["bound"].n_samples == weights.sum()


def test_weights_are_given_again_or_never():
    X, weights = two_clusters(2000), np.full(2000, 2.0)
    weighted = fitted(X[:1000]).fit(X[:1000], sample_weight=weights[:1000])
    for model, given, match in ((weighted, None, "with sample weights"), (fitted(X[:1000]), weights, "without")):
        with pytest.raises(InputError, match=match):
            model.update(X, given)


def test_a_grown_zarr_array_is_learnt_from_its_path(tmp_path):
    X = two_clusters(3000).astype(np.float32)
    array = zarr.create_array(tmp_path / "x.zarr", shape=(1000, 2), chunks=(300, 2), dtype="f4")
    array[:] = X[:1000]
    model = fitted(tmp_path / "x.zarr")
    array.append(X[1000:])
    assert model.update(tmp_path / "x.zarr").n_samples_seen_ == 3000
    assert model.means_.dtype == np.float32


def test_partial_fit_continues_from_an_update_and_ends_revising():
    X = two_clusters(4000)
    model = fitted(X[:2000]).update(X[:3000]).partial_fit(X[3000:])
    assert model.n_samples_seen_ == model.criteria_["bound"].n_samples == 4000
    with pytest.raises(InputError, match="partial_fit since"):
        model.update(X)


@pytest.mark.parametrize(
    ("revise", "match"),
    [
        (lambda model, X: model.update(chunked(X[:-1], 500)), "fewer than the 3,000 that were learnt"),
        (lambda model, X: model.update(da.from_array(X, chunks=(1000, 2))), "Chunk 0 of X has 1,000 rows and had 500"),
        (lambda model, X: model.update(da.from_array(X, chunks=(100, 2))), "Chunk 0 of X has 100 rows and had 500"),
        (lambda model, X: model.update(X[:, :1]), "1 features"),
        (lambda model, X: model.update(iter([X])), "unknown number of rows"),
        (lambda model, X: model.update(X, rows=[1, 2]), "consecutive rows"),
        (lambda model, X: model.update(X, rows=(0.5, 5)), "integers"),
        (lambda model, X: model.set_params(n_components=3).update(X), "n_components=3"),
        (lambda model, X: model.update(X, rows=(5, 5)), "none of the 3000 rows"),
        (lambda model, X: model.withdraw(range(0, 10, 2)), "consecutive rows"),
        (lambda model, X: model.withdraw((0, 10)), "pass X too"),
        (lambda model, X: model.withdraw((0, 10), chunked(np.concatenate([X, X]), 500)), "not learnt yet"),
        (lambda model, X: model.withdraw(slice(None)), "no rows"),
    ],
)
def test_an_invalid_revision_raises_and_changes_nothing(revise, match):
    X = two_clusters(3000)
    model = fitted(chunked(X, 500))
    before = attributes(model)
    with pytest.raises(ValueError, match=match):
        revise(model, X)
    assert_unchanged(model, before)


def test_a_model_without_partitions_names_the_setting_that_keeps_them():
    X = two_clusters(1000)
    for model in (fitted(X, algorithm="batch"), fitted(X, algorithm="stepwise")):
        with pytest.raises(InputError, match="algorithm='incremental'"):
            model.update(X)


def test_partitions_without_weight_are_kept():
    X = two_clusters(1000)
    weights = np.ones(1000)
    weights[:990] = 0.0
    settings = {"algorithm": "incremental", "batch_size": 50, "max_iter": 3, "random_state": 0}
    model = GaussianMixture(2, **settings, **START).fit(X, sample_weight=weights)
    np.testing.assert_allclose(model.criteria_["exact"].n_samples, 10.0)
