from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.algorithms.incremental import IncrementalState, list_entries, replace_entries
from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import Expectation
from streamgmm.persistence.codec import decode, encode
from streamgmm.persistence.container import Arrays
from streamgmm.testing.examples import examples, law, mixture


@st.composite
def states(draw):
    """Trees of a few entries of any family, with places left free."""
    example = draw(examples(STRUCTURES[draw(st.sampled_from(sorted(STRUCTURES)))], rows=(12, 40)))
    parts = np.array_split(np.arange(len(example.rows)), draw(st.integers(1, 6)))
    found = [expect(example.rows[part], example.parameters, weights=example.weights[part])[0] for part in parts]
    places = draw(st.lists(st.integers(0, 20), min_size=len(found), max_size=len(found), unique=True))
    visited = tuple(zip(places, found, strict=True)) if draw(st.booleans()) else ()
    return replace_entries(
        IncrementalState(example.parameters, example.parameters.means + 0.5, visited=visited),
        dict(zip(places, found, strict=True)),
    )


def through(state) -> tuple[IncrementalState, Arrays]:
    arrays: Arrays = {}
    return decode(encode(state, "state", arrays), arrays, IncrementalState), arrays


def content(entries):
    return [
        (place, [part.tobytes() for part in (s.origin, s.counts, s.sums, s.products)], one.likelihood)
        for place, one in entries
        for s in [one.statistics]
    ]


@law
@given(states())
def test_entries_come_back_to_the_bit(state):
    back, _ = through(state)
    assert content(list_entries(back)) == content(list_entries(state))
    assert content(back.visited) == content(state.visited)
    assert content([(0, back.root.sum)]) == content([(0, state.root.sum)])
    np.testing.assert_array_equal(back.origin, state.origin)


def state_of(d, products=None):
    random = np.random.default_rng(0)
    rows = random.normal(size=(30, d))
    parameters = mixture(STRUCTURES["full"], 2, d, random)
    (whole,) = expect(rows, parameters)
    if products is not None:
        whole = Expectation(replace(whole.statistics, products=products(whole.statistics.products)), whole.likelihood)
    return replace_entries(IncrementalState(parameters, whole.statistics.origin), {3: whole})


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_of_symmetric_matrices_a_triangle_is_kept(d):
    _, arrays = through(state_of(d))
    (name,) = (name for name in arrays if name.endswith("entries.products"))
    assert arrays[name].size == 2 * d * (d + 1) // 2


def test_matrices_that_are_not_symmetric_are_kept_whole():
    tilted = state_of(3, lambda products: products + np.triu(np.full((3, 3), 1e-9)))
    back, arrays = through(tilted)
    assert arrays["state.entries.products"].shape == (1, 2, 3, 3)
    assert content(list_entries(back)) == content(list_entries(tilted))


@pytest.mark.parametrize(
    ("column", "spoil"),
    [
        ("products", lambda a: a[:, :, :4]),
        ("products", lambda a: a[:, :1, :, None]),
        ("products", lambda a: np.full_like(a, np.nan)),
        ("counts", lambda a: a[:, :1]),
        ("sums", lambda a: a[0]),
        ("origins", lambda a: a[:1]),
        ("likelihoods", lambda a: a[:, :3]),
        ("rows", lambda a: -a),
        ("partitions", lambda a: np.concatenate([a, a])),
    ],
)
def test_columns_that_contradict_each_other_are_refused(column, spoil):
    arrays: Arrays = {}
    manifest = encode(state_of(3), "state", arrays)
    name = f"state.entries.{column}"
    arrays[name] = spoil(arrays[name])
    with pytest.raises(ValueError, match="entries"):
        decode(manifest, arrays, IncrementalState)
