import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_matrix

from recommender import kernels

SMALL = st.floats(-10, 10, width=32)


def parts_of(*matrices):
    kinds = (("indptr", np.int64), ("indices", np.int32), ("data", np.float32))
    return [
        getattr(matrix, name).astype(kind) for matrix in map(csr_matrix, matrices) for name, kind in kinds
    ]


WEIGHTS = arrays.arrays(np.float32, (3, 4), elements=SMALL)
STRENGTH = arrays.arrays(np.float32, (4, 4), elements=SMALL)


@given(WEIGHTS, STRENGTH, st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_spread_is_a_matrix_product_at_the_targets(weights, strength, first, second):
    users = np.array([2, 0], np.int32)
    starts = np.cumsum([0, len(first), len(second)])
    targets = np.array([*first, *second], np.int32)
    spread = kernels.spread(*parts_of(weights, strength), users, starts, targets)
    assert spread.dtype == np.float32
    product = weights.astype(np.float64) @ strength
    assert np.allclose(spread, [*product[2, first], *product[0, second]], rtol=1e-5, atol=1e-4)


WHOLE = st.sampled_from([0.0, 1.0, 2.0])


@given(
    arrays.arrays(np.float32, (3, 4), elements=WHOLE),
    arrays.arrays(np.float32, (4, 9), elements=WHOLE),
    arrays.arrays(np.bool_, 9),
    st.booleans(),
    st.integers(1, 5),
)
def test_nearest_are_the_largest_allowed_of_the_product_ties_by_code(weights, strength, allowed, repeats, n):
    users = np.arange(3, dtype=np.int32)
    parts = parts_of(weights, strength)
    sizes, items, scores = kernels.nearest(*parts, users, allowed, repeats, n)
    dense = weights @ strength
    for user in users:
        own = set(np.flatnonzero(weights[user])) if not repeats else set()
        may = [i for i in range(9) if allowed[i] and i not in own and dense[user, i] > 0]
        best = sorted(may, key=lambda item: (-dense[user, item], item))[:n]
        part = slice(user * n, user * n + sizes[user])
        assert items[part].tolist() == best
        assert scores[part].tolist() == dense[user, best].tolist()


def test_of_a_tie_with_the_least_the_lower_code_stays_though_it_comes_later():
    weights, strength = np.float32([[1, 1]]), np.float32([[0, 0, 1], [1, 0, 0]])
    user, allowed = np.zeros(1, np.int32), np.ones(3, bool)
    _, items, _ = kernels.nearest(*parts_of(weights, strength), user, allowed, True, 1)
    assert items.tolist() == [0]
