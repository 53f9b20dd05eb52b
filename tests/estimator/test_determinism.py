"""The same bits for any number of threads or workers, and any order in which they finish."""

import hashlib
import os
import random
import subprocess
import sys
import time
from functools import cache, partial

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm import GaussianMixture
from streamgmm.data import execution, threads
from streamgmm.data.sources import LEAF_ROWS
from streamgmm.model.covariances import STRUCTURES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_LEAVES = 7  # an odd number, so that the tree is not a full one


def blobs(n=N_LEAVES * LEAF_ROWS + 5, d=5):
    generator = np.random.default_rng(0)
    return (generator.normal(size=(n, d)) + 3.0 * generator.integers(0, 3, (n, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def X():
    return blobs()


def fitted(X, max_iter=3):
    # init_params='random': scikit-learn's k-means may depend on the number of threads
    return GaussianMixture(3, init_params="random", random_state=0, tol=0, max_iter=max_iter).fit(X)


def digest(X):
    model = fitted(X)
    content = hashlib.sha256()
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        content.update(getattr(model, name).tobytes())
    content.update(repr((model.lower_bounds_, model.criteria_)).encode())
    return content.hexdigest()


def chunked(X):
    return da.from_array(X, chunks=(LEAF_ROWS + 1000, X.shape[1]))


def test_one_digest_for_any_number_of_threads(X):
    digests = set()
    for n_threads in (1, 2, 4):
        with threads.limit(n_threads):
            digests.add(digest(X))
    assert len(digests) == 1


def test_one_digest_for_any_dask_scheduler(X):
    digests = set()
    for options in ({"scheduler": "synchronous"}, {"scheduler": "threads", "num_workers": 4}):
        with dask.config.set(**options):
            digests.add(digest(chunked(X)))
    assert len(digests) == 1


def test_one_digest_on_a_cluster_of_processes(X):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with dask.config.set(scheduler="synchronous"):
        expected = digest(chunked(X))
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(processes=True, **options) as cluster, distributed.Client(cluster):
        assert digest(chunked(X)) == expected


def test_one_digest_for_twenty_random_orders_in_which_leaves_finish(X, monkeypatch):
    with threads.limit(1):
        expected = digest(X)
    prompt = execution.accumulate
    orders = set()

    def delayed(rows, weights, kernels, distances, order, generator):
        result = prompt(rows, weights, kernels, distances)
        time.sleep(generator.random() / 500)
        order.append(rows.ctypes.data)
        return result

    for seed in range(20):
        order = []
        monkeypatch.setattr(execution, "accumulate", partial(delayed, order=order, generator=random.Random(seed)))
        with threads.limit(4):
            assert digest(X) == expected
        orders.add(tuple(order))
    assert len(orders) > 10  # the orders did differ


def test_one_digest_for_twenty_random_orders_in_which_chunks_finish(X):
    with dask.config.set(scheduler="synchronous"):
        expected = digest(chunked(X))

    def delayed(block, generator):
        time.sleep(generator.random() / 500)
        return block

    for seed in range(20):
        late = chunked(X).map_blocks(delayed, generator=random.Random(seed), dtype=X.dtype)
        with dask.config.set(scheduler="threads", num_workers=4):
            assert digest(late) == expected


ROWS = blobs(n=500).astype(float)


@cache
def one_step(family):
    start = {"means_init": ROWS[[0, 100, 200]], "weights_init": [0.2, 0.3, 0.5], "random_state": 0}
    model = partial(GaussianMixture, 3, covariance_type=family, max_iter=1, init_params="random", **start)
    return model, model().fit(ROWS)


@settings(max_examples=40)
@given(
    family=st.sampled_from(list(STRUCTURES)),
    lengths=st.lists(st.integers(0, 200), min_size=1, max_size=12),
)
def test_rechunking_changes_one_step_by_rounding_only(family, lengths):
    model, one = one_step(family)
    cuts = np.minimum(np.cumsum(lengths), 500)
    chunks = tuple(int(length) for length in np.diff([0, *cuts, 500]))
    with dask.config.set(scheduler="synchronous"):
        other = model().fit(da.from_array(ROWS, chunks=(chunks, 5)))
    for name in ("weights_", "means_", "covariances_"):
        expected = getattr(one, name)
        np.testing.assert_allclose(getattr(other, name), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.long
def test_compiled_and_cached_kernels_give_one_digest(tmp_path):
    """Also where others were compiled before them, of which functions that they call have versions too."""
    program = """
import numpy as np
from streamgmm.model.covariances import STRUCTURES
from streamgmm.kernels.e_step import expect
from streamgmm.model.em import make_parameters
random = np.random.default_rng(0)
for d in (4, 8):
    means = 3.0 * np.arange(3)[:, None] + random.normal(size=(3, d)) / 3
    parameters = make_parameters(np.full(3, 1 / 3), means, 1.0 + random.uniform(size=(3, d)), STRUCTURES["diag"])
    rows = random.normal(size=(32_763, d)) + 3.0 * random.integers(0, 3, (32_763, 1))
    (found,) = expect(rows, parameters)
    print(found.statistics.counts.tobytes().hex(), found.statistics.products.tobytes().hex(), found.likelihood.total)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = partial(subprocess.run, [sys.executable, "-c", program], env=environment, capture_output=True)
    compiled, found = run(check=True), run(check=True)
    assert compiled.stdout == found.stdout
