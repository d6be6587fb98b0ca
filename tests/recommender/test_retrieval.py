import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import block_diag, csr_matrix

from lake.sections import RetrievalSection
from recommender import retrieval
from recommender.retrieval import align, known


def arrays(found):
    near = found.similarity
    return [found.user_factors, found.item_factors, found.popularity, near.indptr, near.indices, near.data]


def test_the_bytes_do_not_depend_on_threads(view, fitted, data):
    again = retrieval.fit(view, view.weights, data.retrieval, 2)
    assert [a.tobytes() for a in arrays(again)] == [a.tobytes() for a in arrays(fitted)]


def test_everybody_and_everything_has_factors(view, fitted):
    assert fitted.user_factors.shape == (len(view.users), 4)
    assert fitted.user_factors.dtype == fitted.item_factors.dtype == np.float32
    assert known(fitted.user_factors).all()
    assert known(fitted.item_factors).all()


def test_neighbours_are_at_most_as_many_as_asked_and_never_nobody(fitted):
    near = fitted.similarity
    assert np.diff(near.indptr).max() <= 5
    assert near.nnz > 0
    assert near.indices.min() >= 0
    assert (near.data != 0).all()


def test_neighbours_are_bought_by_the_same_users(fitted, view):
    bought = view.weights.toarray() > 0
    for item in range(len(view.items)):
        for other in fitted.similarity[item].indices:
            assert (bought[:, item] & bought[:, other]).any()


def test_popularity_is_users_then_purchases(make_view):
    view = make_view({(1, 10): 1.0, (1, 11): 3.0, (2, 12): 9.0, (3, 13): 0.1, (4, 13): 0.1})
    assert np.argsort(-retrieval.popularity(view), kind="stable").tolist() == [3, 2, 1, 0]


def test_a_retrieval_of_the_same_ids_stays_as_it_is(fitted, view):
    assert align(fitted, view) is fitted


@pytest.fixture
def later(bought, make_view):
    """The next night: user 103 and item 1004 are gone, user 99 and item 900 are new."""
    left = {pair: m60 for pair, m60 in bought.items() if pair[0] != 103 and pair[1] != 1004}
    return make_view(left | {(99, 900): 1.0})


def test_an_older_retrieval_follows_the_ids(fitted, view, later):
    moved = align(fitted, later)
    old = view.users.codes(later.users.values)
    assert later.users.values.to_pylist()[0] == 99
    assert not moved.user_factors[0].any()
    assert np.array_equal(moved.user_factors[1:], fitted.user_factors[old[1:]])
    assert known(moved.item_factors).tolist() == [False] + [True] * (len(later.items) - 1)
    assert len(moved.popularity) == len(later.items)


def test_older_neighbours_follow_the_ids(fitted, view, later):
    moved = align(fitted, later)
    ids, old_ids = later.items.values.to_pylist(), view.items.values.to_pylist()
    before = {
        (old_ids[row], old_ids[column]): fitted.similarity[row, column]
        for row, column in zip(*fitted.similarity.nonzero(), strict=True)
    }
    after = {
        (ids[row], ids[column]): moved.similarity[row, column]
        for row, column in zip(*moved.similarity.nonzero(), strict=True)
    }
    assert after == {pair: value for pair, value in before.items() if 1004 not in pair}


def test_one_user_with_one_item_can_be_fitted(make_view, data):
    view = make_view({(1, 10): 1.0})
    found = retrieval.fit(view, view.weights, data.retrieval, 1)
    assert np.isfinite(found.user_factors).all()
    assert np.isfinite(found.similarity.data).all()


FIT = """
from hashlib import sha256
from recommender.retrieval import als
from lake.sections import RetrievalSection
from scipy.sparse import random
import numpy as np
m60 = random(300, 200, 0.1, "csr", np.float32, np.random.default_rng(0))
print(*(sha256(factors).hexdigest() for factors in als(m60, RetrievalSection(factors=32), 1)))
"""


def test_two_kernels_asked_for_from_outside_give_the_same_factors():
    """OpenBLAS chose its kernel by the processor: other sums, other factors, other lists."""
    asked = ("Nehalem", "Sandybridge", "")
    told = [os.environ | {"OPENBLAS_CORETYPE": kernel} for kernel in asked]
    fits = [subprocess.run([sys.executable, "-c", FIT], env=env, capture_output=True) for env in told]
    assert [fit.returncode for fit in fits] == [0, 0, 0]
    assert len({fit.stdout for fit in fits}) == 1


@pytest.fixture
def looked_at(make_view, data):
    """Item 13 and user 4 have nothing but events of weight zero, which are rows of zeros in the features."""
    bought = {(1, 10): 1.0, (1, 11): 3.0, (2, 10): 2.0, (2, 11): 1.0, (3, 12): 1.0}
    view = make_view(bought | {(1, 13): 0.0, (4, 13): 0.0})
    return view, retrieval.fit(view, view.weights, data.retrieval, 1)


def test_events_of_weight_zero_make_no_factors(looked_at):
    """They made factors of norm 1e-12, near to anything by cosine."""
    _, found = looked_at
    assert known(found.user_factors).tolist() == [True, True, True, False]
    assert known(found.item_factors).tolist() == [True, True, True, False]


def test_events_of_weight_zero_make_no_neighbours(looked_at):
    _, found = looked_at
    assert found.similarity[3].nnz == 0
    assert found.similarity[:, 3].nnz == 0
    assert found.similarity[0].nnz > 0


def test_a_night_of_nothing_but_weight_zero_knows_nobody(make_view, data):
    view = make_view({(1, 10): 0.0, (2, 11): 0.0})
    found = retrieval.fit(view, view.weights, data.retrieval, 1)
    assert not known(found.user_factors).any()
    assert not known(found.item_factors).any()
    assert found.similarity.nnz == 0


@pytest.mark.parametrize("constants", [(1.2, 0.75), (0.0, 0.0), (100.0, 1.0)])
def test_neighbours_are_weighted_as_implicit_weights_them(view, constants):
    from implicit.nearest_neighbours import bm25_weight

    k1, b = constants
    ours = retrieval._bm25(view.weights, RetrievalSection(bm25_k1=k1, bm25_b=b))
    theirs = bm25_weight(view.weights.T, K1=k1, B=b).T.tocsr()
    assert np.allclose(ours.toarray(), theirs.toarray(), rtol=1e-6)


def test_neighbours_are_the_largest_products_ties_by_code(view, fitted, data):
    weights = retrieval._bm25(view.weights, data.retrieval).astype(np.float32).toarray().astype(np.float64)
    products = (weights.T @ weights).astype(np.float32)
    for item, row in enumerate(products):
        largest = sorted(np.flatnonzero(row > 0), key=lambda other: (-row[other], other))[:5]
        assert fitted.similarity[item].indices.tolist() == sorted(largest)
        assert np.allclose(fitted.similarity[item].data, row[sorted(largest)])


def test_neighbours_score_as_those_of_implicit(view, data):
    from implicit.nearest_neighbours import ItemItemRecommender

    theirs = ItemItemRecommender(K=5, num_threads=1)
    theirs.fit(retrieval._bm25(view.weights, data.retrieval), show_progress=False)
    ours = retrieval.fit(view, view.weights, data.retrieval, 1).similarity
    for item in range(len(view.items)):
        assert np.allclose(np.sort(ours[item].data), np.sort(theirs.similarity[item].data), rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "place"), [("damping", 1.0, 0), ("bm25_k1", 2.0, 5), ("bm25_b", 0.1, 5)]
)
def test_damping_is_of_factors_and_bm25_of_neighbours(view, data, fitted, key, value, place):
    other = retrieval.fit(view, view.weights, data.retrieval.model_copy(update={key: value}), 1)
    one, another = arrays(fitted), arrays(other)
    assert {at for at in (0, 5) if one[at].tobytes() != another[at].tobytes()} == {place}


def groups(weight):
    """Purchases of 300 users, each of 6 of the 15 items of its group; the group of each user."""
    rng = np.random.default_rng(1)
    group = rng.integers(0, 5, 300)
    m60 = np.zeros((300, 75), np.float32)
    for user in range(300):
        m60[user, rng.choice(np.arange(15) * 5 + group[user], 6, replace=False)] = weight
    return csr_matrix(m60), group


def right(users, items, group):
    """Which part of the users' 15 best items are of their group; 0.2 is chance."""
    best = np.argsort(-(users.astype(np.float64) @ items.T.astype(np.float64)), kind="stable")[:, :15]
    return (best % 5 == group[:, None]).mean()


def test_groups_of_users_get_lists_of_their_groups(caplog):
    m60, group = groups(1.0)
    assert right(*retrieval.als(m60, RetrievalSection(), 1), group) == 1
    assert caplog.records == []


TOO_LITTLE = {
    "weights of 0.03": (0.03, {}),
    "weights of 0.02": (0.02, {}),
    "events of years ago": (1e-3, {}),
    "alpha 0.1": (1.0, {"alpha": 0.1}),
    "alpha 1e-4": (1.0, {"alpha": 1e-4}),
    "regularization 100": (1.0, {"regularization": 100.0}),
    "regularization 1e5": (1.0, {"regularization": 1e5}),
    "regularization 1e6": (1.0, {"regularization": 1e6}),
}


@pytest.mark.parametrize("case", TOO_LITTLE)
def test_factors_that_shrank_to_noise_know_nobody_and_are_told(case, caplog):
    """Everybody was known, by rows of norm 1e-4 to 1e-22 and lists at chance, or nobody was, in silence."""
    weight, config = TOO_LITTLE[case]
    m60, group = groups(weight)
    users, items = retrieval.als(m60, RetrievalSection(**config), 1)
    assert right(users, items, group) < 0.3
    assert not known(users).any()
    assert not known(items).any()
    (warning,) = caplog.records
    assert "learned nothing of 300 of 300 users and 75 of 75 items, " in warning.getMessage()


def test_a_user_and_an_item_of_long_ago_stay_known(caplog):
    """Their rows have a norm of 1e-8, and yet point at the right items."""
    m60, group = groups(1.0)
    m60[np.arange(0, 300, 10)] *= 1e-9
    m60[:, np.arange(10)] *= 1e-9
    users, items = retrieval.als(m60.tocsr(), RetrievalSection(), 1)
    assert np.linalg.norm(users[0]) < 1e-7
    assert known(users).all()
    assert known(items).all()
    assert right(users[::10], items, group[::10]) > 0.8
    assert caplog.records == []


def two_shops(weight):
    """Shop A has three groups and shop B two, whose purchases have that weight; they share no item."""
    m60, group = groups(1.0)
    m60 = m60.toarray()
    m60[group >= 3] *= np.float32(weight)
    return csr_matrix(m60), group


@pytest.mark.parametrize("weight", [0.02, 0.01, 1e-3, 1e-6, 1e-30])
def test_a_shop_of_which_nothing_is_learned_knows_nobody_beside_a_healthy_one(weight, caplog):
    """Its users had personal lists at chance, and its items neighbours, without a warning."""
    m60, group = two_shops(weight)
    users, items = retrieval.als(m60, RetrievalSection(), 1)
    in_a, item_in_a = group < 3, np.arange(75) % 5 < 3
    assert known(users).tolist() == in_a.tolist()
    assert known(items).tolist() == item_in_a.tolist()
    assert right(users[in_a], items, group[in_a]) == 1
    (warning,) = caplog.records
    told = f"learned nothing of {(~in_a).sum()} of 300 users and 30 of 75 items, "
    assert told in warning.getMessage()


def test_a_user_alone_stays_as_fitted_and_is_no_news(caplog, monkeypatch):
    """There are some on most nights, whose bytes would change, and a warning on each would tell nothing."""
    m60, group = groups(1.0)
    alone = block_diag([m60, np.full((1, 2), 0.1), np.full((2, 1), 0.1)], "csr", np.float32)
    factors = retrieval.als(alone, RetrievalSection(), 1)
    assert right(factors[0][:300], factors[1][:75], group) == 1
    assert caplog.records == []
    monkeypatch.setattr(retrieval, "_forget_noise", lambda *args: None)
    as_fitted = retrieval.als(alone, RetrievalSection(), 1)
    assert [rows.tobytes() for rows in factors] == [rows.tobytes() for rows in as_fitted]


def test_factors_of_a_shop_that_weighs_enough_stay_to_the_byte(caplog, monkeypatch):
    m60, group = two_shops(0.5)
    users, items = retrieval.als(m60, RetrievalSection(), 1)
    assert right(users, items, group) == 1
    monkeypatch.setattr(retrieval, "_forget_noise", lambda *args: None)
    as_fitted = retrieval.als(m60, RetrievalSection(), 1)
    assert [users.tobytes(), items.tobytes()] == [factors.tobytes() for factors in as_fitted]
    assert caplog.records == []


def test_a_night_on_which_the_equations_have_no_solution_knows_nobody(caplog):
    """implicit's ModelFitError ended training, every night."""
    tiny = RetrievalSection.model_construct(**dict(RetrievalSection()) | {"regularization": 1e-12})
    users, items = retrieval.als(csr_matrix(np.ones((1, 40), np.float32)), tiny, 1)
    assert not known(users).any()
    assert not known(items).any()
    (warning,) = caplog.records
    assert "none of 1 users and 40 items has factors: raise retrieval.regularization (1e-12)" in str(
        warning.getMessage()
    )
