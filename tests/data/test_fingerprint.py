"""Equal rows have equal fingerprints, and differences in the sampled rows are described."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.data.fingerprint import SAMPLED_ROWS, Fingerprint
from streamgmm.data.sources import as_source

ROWS = np.random.default_rng(0).normal(size=(300, 3))

KINDS = {
    "array": lambda rows: as_source(rows),
    "weighted": lambda rows: as_source(rows, np.arange(len(rows))),
    "frame": lambda rows: as_source(pd.DataFrame(rows, columns=list("abc"))),
    "dask": lambda rows: as_source(da.from_array(rows, (70, 3))),
    "unknown": lambda rows: as_source(da.from_array(rows, (70, 3))[rows[:, 0] > -1]),
    "zarr": lambda rows: as_source(zarr.array(rows, chunks=(50, 3))),
    "batches": lambda rows: as_source(lambda: iter(np.split(rows, 3))),
}


def take_fingerprint(kind, rows=ROWS):
    return Fingerprint.from_source(KINDS[kind](rows))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_have_the_same_fingerprint(kind):
    assert take_fingerprint(kind) == take_fingerprint(kind, ROWS.copy())
    assert take_fingerprint(kind).describe_difference(take_fingerprint(kind)) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_can_be_read_after_its_fingerprint_was_taken(kind):
    source = KINDS[kind](ROWS)
    Fingerprint.from_source(source)
    for _ in range(2):
        assert sum(1 for _ in source.chunks()) >= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [0, 299])
def test_another_value_at_an_end_is_another_fingerprint(kind, row):
    changed = ROWS.copy()
    changed[row, 1] += 1e-9
    assert (take_fingerprint(kind, changed) != take_fingerprint(kind)) == (
        kind != "batches" or row == 0
    )  # batches: only the first is read


@given(st.integers(1, 3 * SAMPLED_ROWS), st.integers(0, 2))
def test_every_value_of_few_rows_counts(n, column):
    rows = np.zeros((n, 3))
    changed = rows.copy()
    changed[n - 1 if n <= SAMPLED_ROWS else 0, column] = 1.0
    assert (Fingerprint.from_source(as_source(rows)) == Fingerprint.from_source(as_source(changed))) is False


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (as_source(ROWS[:, :2]), "2 features, not 3"),
        (as_source(ROWS[:299]), "299 rows, not 300"),
        (as_source(ROWS.astype("f4")), "dtype float32, not float64"),
        (as_source(da.from_array(ROWS, (60, 3))), "chunks of other lengths"),
        (as_source(pd.DataFrame(ROWS, columns=list("xyz"))), "columns of other names"),
        (as_source(ROWS, np.ones(300)), "other values"),
        (as_source(lambda: iter([ROWS])), "an unknown number of rows, not 300"),
    ],
)
def test_a_difference_is_described(other, words):
    assert take_fingerprint("array").describe_difference(Fingerprint.from_source(other)) == words


def test_names_and_weights_are_not_the_lack_of_them():
    assert len({take_fingerprint(kind) for kind in ("array", "weighted", "frame", "dask")}) == 4
