import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.storage import LocalStorage
from recommender import bundle as bundles
from recommender import scoring
from recommender.candidates import Candidates, candidates, most_popular
from recommender.matrix import FEATURES, matrix
from recommender.retrieval import align, of_users, popularity
from recommender.scoring import ListMaker
from recommender.view import Origin

DAY = dt.date(2017, 9, 30)
ROW = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([-1.0, 0.0, 0.5, 2.0])), unique_by=lambda pair: pair[0]
)


def lists_of(lists):
    return [lists.items[a:b].tolist() for a, b in zip(lists.indptr, lists.indptr[1:], strict=False)]


def scores_of(lists):
    return [lists.scores[a:b].tolist() for a, b in zip(lists.indptr, lists.indptr[1:], strict=False)]


def check(lists, n):
    """What holds of all lists: unique items, score descending, ties by code, at most n."""
    for items, scores in zip(lists_of(lists), scores_of(lists), strict=True):
        assert len(set(items)) == len(items) <= n
        assert list(zip(scores, items, strict=True)) == sorted(
            zip(scores, items, strict=True), key=lambda pair: (-pair[0], pair[1])
        )


@given(st.lists(ROW, min_size=1), st.integers(1, 5))
def test_order_is_score_descending_then_code_also_at_the_cut(rows, n):
    items = np.array([item for row in rows for item, _ in row], np.int32)
    scores = np.array([score for row in rows for _, score in row], np.float32)
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    lists = scoring.order(scores, Candidates(indptr, items, np.ones(len(rows), bool)), n)
    expected = [sorted(row, key=lambda pair: (-pair[1], pair[0]))[:n] for row in rows]
    assert lists_of(lists) == [[item for item, _ in row] for row in expected]
    assert scores_of(lists) == [[score for _, score in row] for row in expected]


@pytest.fixture(scope="module")
def booster(view, fitted, data):
    """Trees that like items of an even code."""
    return liking(0, view, fitted, data)


@pytest.fixture(scope="module")
def other_booster(view, fitted, data):
    """Trees that like items of an odd code."""
    return liking(1, view, fitted, data)


def liking(rest, view, fitted, data):
    import xgboost

    users = np.arange(len(view.users), dtype=np.int32)
    found = candidates(view, fitted, data, users)
    labels = (found.items % 2 == rest).astype(np.float32)
    train = xgboost.QuantileDMatrix(matrix(view, fitted, users, found), labels)
    trees = xgboost.train({"objective": "binary:logistic", "nthread": 1}, train, 30)
    return bytes(trees.save_raw("ubj"))


@pytest.fixture
def make_bundle(tmp_path, fitted, data):
    def make(**fields):
        bundle_id = bundles.write(
            tmp_path / "new", as_of=DAY, retrieval=fitted, data=data, features=Origin(), **fields
        )
        storage = LocalStorage(tmp_path / "lake")
        bundles.put(storage, tmp_path / "new", bundle_id)
        return bundles.load(storage, bundle_id)

    return make


def personal(view, bundle, data, n=15, allowed=None):
    lists = ListMaker(view, data, n, view.listed if allowed is None else allowed).personal(
        bundle, align(bundle.retrieval, view) if bundle else None
    )
    check(lists, n)
    return lists


def test_a_booster_orders_its_candidates(view, make_bundle, data, booster):
    lists = personal(view, make_bundle(outcome="promoted", booster=booster), data, 15)
    assert all(all(item % 2 == 0 for item in items[:8]) for items in lists_of(lists))
    assert lists.scores.dtype == np.float32
    assert lists.fallback.tolist() == [0] * 12
    assert lists.warnings == ()


@pytest.fixture(params=["booster", *scoring.BASELINES])
def make_lists(request, bought, make_as_of, cut, fitted, data, booster):
    """A function: the lists of a contestant with so many threads, a part for each block of users."""
    as_of = make_as_of(bought, listed=sorted({item for _, item in bought}))

    def make(threads, users_of_a_block=100, users=None):
        return list(cut(as_of, users_of_a_block).each(of_block, threads, users))

    def of_block(block):
        maker = ListMaker(block.view, data, 7, block.view.listed)
        mine = of_users(fitted, block.users, block.view.users)
        if request.param == "booster":
            return maker.ranked(mine, [booster])[0]
        return maker.baseline(request.param, mine)

    return make


@pytest.mark.parametrize(
    ("threads", "size", "blocks"), [(1, 1, 12), (1, 5, 3), (1, 100, 1), (2, 1, 12), (2, 100, 6), (5, 100, 12)]
)
def test_blocks_of_users_and_threads_change_nothing(make_lists, threads, size, blocks):
    [whole] = make_lists(1)
    parts = make_lists(threads, size)
    assert len(parts) == blocks
    assert whole.items.tobytes() == b"".join(part.items.tobytes() for part in parts)
    assert whole.scores.tobytes() == b"".join(part.scores.tobytes() for part in parts)
    assert [items for part in parts for items in lists_of(part)] == lists_of(whole)


def test_the_lists_of_some_users_are_those_that_they_have_among_all(make_lists):
    [whole], [some] = make_lists(1), make_lists(1, users=np.array([2, 9], np.int32))
    assert lists_of(some) == [lists_of(whole)[2], lists_of(whole)[9]]
    assert scores_of(some) == [scores_of(whole)[2], scores_of(whole)[9]]


def test_several_boosters_each_have_their_own_lists_over_the_same_candidates(
    view, fitted, data, booster, other_booster, monkeypatch
):
    maker, made = ListMaker(view, data, 7, view.listed), []
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "candidates", lambda *args: made.append(candidates(*args)) or made[-1])
        both = maker.ranked(fitted, [booster, other_booster])
    assert len(made) == 1
    alone = [maker.ranked(fitted, [model])[0] for model in (booster, other_booster)]
    assert [lists_of(lists) for lists in both] == [lists_of(lists) for lists in alone]
    assert lists_of(both[0]) != lists_of(both[1])


def test_a_list_is_filled_with_popular_items_below_the_candidates(view, fitted, data, booster):
    few = data.model_copy(update={"candidates": data.candidates.model_copy(update={"limit": 4, "own": 4})})
    (lists,) = ListMaker(view, few, 10, view.listed).ranked(fitted, [booster])
    check(lists, 10)
    popular, _ = most_popular(popularity(view), view.listed, 15)
    for items, scores in zip(lists_of(lists), scores_of(lists), strict=True):
        assert items[4:] == [item for item in popular if item not in items[:4]][:6]
        assert min(scores[:4]) > 0
        assert scores[4:] == [-1, -2, -3, -4, -5, -6]


def test_filled_items_stay_below_negative_scores(view, fitted, data):
    items = abs(fitted.item_factors)
    items[5:] = 0
    negative = replace(fitted, user_factors=-abs(fitted.user_factors), item_factors=items)
    lists = ListMaker(view, data, 15, view.listed).baseline("als", negative)
    check(lists, 15)
    for items, scores in zip(lists_of(lists), scores_of(lists), strict=True):
        assert sorted(items[:5]) == [0, 1, 2, 3, 4]
        assert np.allclose(scores[5:], scores[4] - np.arange(1, 11), rtol=1e-6)


def test_untested_is_personal_frequency_filled_by_popularity(make_view, data):
    view = make_view({(1, 10): 1.0, (1, 11): 5.0, (2, 12): 1.0, (3, 12): 1.0, (2, 13): 7.0})
    lists = personal(view, None, data, 3)
    assert lists_of(lists)[0] == [1, 0, 2]
    assert scores_of(lists)[0] == [5, 1, -1]
    assert lists.fallback.tolist() == [0, 0, 0]


def test_without_repeats_untested_is_popularity_of_what_is_new(view, no_repeats):
    lists = personal(view, None, no_repeats, 15)
    bought = view.weights.toarray() > 0
    popular, scores = most_popular(popularity(view), view.listed, 15)
    for user, items in enumerate(lists_of(lists)):
        assert items == [item for item in popular if not bought[user, item]]
    assert (lists.fallback == 2).all()
    assert set(lists.scores.tolist()) <= set(scores.tolist())


def test_a_user_whose_own_items_are_all_blocked_gets_the_popular_ones(make_view, data):
    view = make_view({(1, 10): 1.0, (2, 11): 1.0, (3, 11): 1.0, (3, 12): 1.0})
    lists = personal(view, None, data, 3, np.array([False, True, True]))
    assert lists_of(lists)[0] == [1, 2]
    assert lists.fallback.tolist() == [2, 0, 0]


@pytest.mark.parametrize("name", scoring.BASELINES)
@pytest.mark.parametrize("n", [4, 15])
def test_baselines_are_full_and_in_order(view, fitted, data, name, n):
    lists = ListMaker(view, data, n, view.listed).baseline(name, fitted)
    check(lists, n)
    assert np.diff(lists.indptr).tolist() == [n] * 12


@pytest.mark.parametrize("name", ["popularity", "als", "item_item"])
def test_without_repeats_no_baseline_brings_back_what_was_bought(view, fitted, no_repeats, name):
    lists = ListMaker(view, no_repeats, 15, view.listed).baseline(name, fitted)
    bought = view.weights.toarray() > 0
    for user, items in enumerate(lists_of(lists)):
        assert sorted(items) == np.flatnonzero(~bought[user]).tolist()


def test_there_is_no_such_baseline(view, fitted, data, no_repeats):
    with pytest.raises(ValueError, match="no baseline 'magic'"):
        ListMaker(view, data, 3, view.listed).baseline("magic", fitted)
    with pytest.raises(ValueError, match="personal frequency only"):
        ListMaker(view, no_repeats, 3, view.listed).baseline("personal_frequency", fitted)


def test_a_baseline_decision_is_followed(view, make_bundle, fitted, data):
    lists = personal(view, make_bundle(outcome="baseline", baseline="als"), data, 5)
    expected = ListMaker(view, data, 5, view.listed).baseline("als", fitted)
    assert np.array_equal(lists.items, expected.items)


def test_a_booster_of_other_features_is_not_used_and_the_lists_say_why(view, make_bundle, data, booster):
    bundle = replace(make_bundle(outcome="promoted", booster=booster), features=FEATURES[1:])
    lists = personal(view, bundle, data, 5)
    untested = personal(view, None, data, 5)
    assert np.array_equal(lists.items, untested.items)
    assert "another feature list" in lists.warnings[0]


def test_a_bundle_older_than_the_night_serves_whom_it_does_not_know(
    make_view, bought, make_bundle, data, booster
):
    later = make_view(bought | {(99, 900): 1.0, (99, 1001): 2.0})
    lists = personal(later, make_bundle(outcome="promoted", booster=booster), data, 10)
    assert np.diff(lists.indptr).tolist() == [10] * 13
    assert later.users.values.to_pylist()[0] == 99
    assert lists.fallback[0] == 0
    assert 0 in personal(later, None, data, 2).items[:2]


def test_only_allowed_items_are_in_lists_and_lists_stay_full(view, make_bundle, data, booster):
    allowed = np.arange(15) >= 3
    lists = personal(view, make_bundle(outcome="promoted", booster=booster), data, 12, allowed)
    assert np.diff(lists.indptr).tolist() == [12] * 12
    assert lists.items.min() == 3
