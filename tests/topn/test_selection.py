import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from topn import selection
from topn.simd import WIDTH

FLOATS = st.floats(width=32, allow_nan=False)


@given(st.lists(FLOATS, min_size=2, max_size=2))
def test_ordinals_are_in_the_order_of_the_floats(pair):
    low, high = sorted(np.float32(value) + np.float32(0) for value in pair)
    assert (selection.ordinal(low) < selection.ordinal(high)) == (low < high)
    assert selection.float_of(int(selection.ordinal(low))) == low


def assert_reached_by(n, scores, floor):
    """`n` scores reach the floor, and few more do."""
    if n > len(scores):
        assert floor == -np.inf
    else:
        most, best = n + n // 32, np.sort(scores)[::-1]
        assert floor <= best[n - 1]
        assert floor == best[n - 1] or most >= len(best) or floor > best[most]


@given(st.lists(FLOATS, min_size=1, max_size=60), st.integers(1, 60))
def test_what_n_reach_few_more_reach(values, n):
    scores = np.repeat(np.array(values, np.float32)[:, None] + np.float32(0), WIDTH, axis=1)
    scores[:, 1] = np.random.default_rng(0).permutation(scores[:, 1])
    floors = selection.floors_of_lanes(scores, np.full(WIDTH, n))
    assert (floors == floors[0]).all()
    assert_reached_by(n, scores[:, 0], floors[0])
    keys = np.array([selection.ordinal(score) for score in scores[:, 0]], np.int32)
    if n <= len(keys):
        floor = selection.floor_of_keys(keys, n, keys.min())
        assert_reached_by(n, scores[:, 0], selection.float_of(floor))


def test_every_lane_has_its_own_n():
    scores = np.random.default_rng(0).standard_normal((200, WIDTH)).astype(np.float32)
    sizes = np.arange(1, WIDTH + 1) * 201 // WIDTH
    floors = selection.floors_of_lanes(scores, sizes)
    for n, lane, floor in zip(sizes, scores.T, floors, strict=True):
        assert_reached_by(n, lane, floor)


def test_keys_in_order_are_ranks_with_ties_by_code():
    for count in (5, 40, selection.COUNTED + 1):
        scores = np.random.default_rng(0).integers(-3, 4, count).astype(np.float32)
        codes = np.random.default_rng(1).permutation(count).astype(np.int32)
        keys = selection.in_order(selection.ranking_keys(scores, codes))
        assert (keys & 0xFFFFFFFF).tolist() == codes[np.lexsort((codes, -scores))].tolist()
