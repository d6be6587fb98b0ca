import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from topn import vectors

SMALL = st.floats(-10, 10, width=32)


def in_index_order(user, items):
    products = user.astype(np.float64) * items.astype(np.float64)
    return np.cumsum(products, axis=1)[:, -1].astype(np.float32) + np.float32(0)


def true_scores(user, items):
    scores = np.empty(len(items), np.float32)
    lengths = np.linalg.norm(items.astype(np.float64), axis=1).max() * np.linalg.norm(user.astype(np.float64))
    off = (len(user) + 8) * 2.0**-52 * lengths
    vectors.true_scores(user, items, np.arange(len(items), dtype=np.int32), off, scores)
    return scores


@given(st.integers(1, 70), st.integers(0, 1000))
def test_true_scores_are_sums_in_index_order(factors, seed):
    random = np.random.default_rng(seed)
    scale = 2.0 ** random.integers(-30, 30, factors)
    user, items = random.standard_normal(factors), random.standard_normal((50, factors)) * scale
    user, items = user.astype(np.float32), items.astype(np.float32)
    assert true_scores(user, items).tobytes() == in_index_order(user, items).tobytes()


def test_the_order_counts_where_a_score_is_next_to_half_way_between_two_floats():
    """1 + 2^-24 is half way; what follows is lost or not, by when it is added."""
    bits = [1, 2.0**-24] + [2.0**-54] * 30
    items = np.array([bits, bits[::-1]], np.float32)
    user = np.ones(32, np.float32)
    expected = in_index_order(user, items)
    assert expected[0] < expected[1]
    assert true_scores(user, items).tolist() == expected.tolist()


def test_no_score_is_minus_zero():
    scores = true_scores(np.ones(2, np.float32), np.float32([[-0.0, -0.0], [1, -1], [-1e-45, 0]]))
    assert not np.signbit(scores[:2]).any()
    assert scores[2] == np.float32(-1e-45)


def test_lengths_in_a_triangular_metric():
    rows = np.random.default_rng(0).standard_normal((30, 9)).astype(np.float32)
    lower = np.tril(np.random.default_rng(1).standard_normal((9, 9)))
    assert np.allclose(vectors.lengths_in(rows, lower), np.linalg.norm(rows @ lower, axis=1))


@given(arrays.arrays(np.float32, (4, 3), elements=SMALL), arrays.arrays(np.float32, (5, 3), elements=SMALL))
def test_dots_are_float64_sums_rounded_once(left, right):
    rows, columns = np.array([0, 3, 3], np.int32), np.array([4, 0, 2], np.int32)
    expected = []
    for row, column in zip(rows, columns, strict=True):
        total = 0.0
        for one, other in zip(left[row].tolist(), right[column].tolist(), strict=True):
            total += one * other
        expected.append(np.float32(total))
    assert np.allclose(vectors.dots(left, right, rows, columns), expected, rtol=1e-6, atol=1e-12)
