from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recommender.candidates import (
    Als,
    ItemItem,
    MostPopular,
    Own,
    Ranked,
    best,
    candidates,
    mix,
    most_popular,
    nothing,
)

ITEMS = 12
RANKING = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=8)
USERS = st.integers(1, 3)


def ranked(lists):
    ends = np.cumsum([len(items) for items in lists])
    start = ends - [len(items) for items in lists]
    items = np.array([item for items in lists for item in items], np.int32)
    return Ranked(start.astype(np.int64), ends.astype(np.int64), items, np.zeros(len(items), np.float32))


def lists_of(found):
    return [found.items[a:b].tolist() for a, b in zip(found.indptr, found.indptr[1:], strict=False)]


def in_turn(sources, limit, banned):
    """What `mix` promises, in the plainest words."""
    queues = [[item for item in items if item not in banned] for items in sources]
    drawn = queues[0][:limit]
    while any(queues[1:]) and len(drawn) < limit:
        for queue in queues[1:]:
            while queue and queue[0] in drawn:
                queue.pop(0)
            if queue and len(drawn) < limit:
                drawn.append(queue.pop(0))
    return drawn


@given(
    st.integers(1, 3).flatmap(
        lambda n: st.lists(st.lists(RANKING, min_size=n, max_size=n), min_size=1, max_size=4)
    ),
    st.integers(1, 10),
    st.sets(st.integers(0, ITEMS - 1)),
)
def test_mix_draws_unique_items_in_turn_up_to_the_limit(sources, limit, gone):
    users = len(sources[0])
    banned = csr_matrix([[float(item in gone) for item in range(ITEMS)]] * users)
    found = mix([ranked(lists) for lists in sources], limit, ITEMS, banned)
    expected = [in_turn([lists[user] for lists in sources], limit, gone) for user in range(users)]
    assert lists_of(found) == expected


def test_mix_tells_the_source():
    found = mix([ranked([[3]]), ranked([[3, 1]]), ranked([[2, 1, 4]])], 10, 5)
    assert found.items.tolist() == [3, 1, 2, 4]
    assert found.sources.tolist() == [0, 1, 2, 2]


@given(st.lists(st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 3)), unique_by=lambda p: p[0])))
def test_best_orders_by_score_then_code_and_leaves_out_what_is_not_allowed(rows):
    allowed = np.arange(ITEMS) % 3 > 0
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    items = np.array([item for row in rows for item, _ in row], np.int32)
    scores = np.array([score for row in rows for _, score in row], np.float32)
    found = best(indptr, items, scores, allowed, 2)
    for row, start, stop in zip(rows, found.start, found.stop, strict=True):
        wanted = sorted(((-score, item) for item, score in row if item % 3 > 0))[:2]
        assert [
            (-s, i) for s, i in zip(found.scores[start:stop], found.items[start:stop], strict=True)
        ] == wanted


def test_most_popular_breaks_ties_by_code():
    items, scores = most_popular(np.array([1, 3, 3, 9, 2], np.float32), np.array([1, 1, 1, 0, 1], bool), 3)
    assert items.tolist() == [1, 2, 4]
    assert scores.tolist() == [3, 3, 2]


def test_own_history_is_by_decayed_purchases(make_view):
    view = make_view({(1, 10): 1.0, (1, 11): 5.0, (1, 12): 1.0, (2, 13): 1.0})
    found = Own(view, np.array([True, True, True, False])).rank(np.array([0, 1], np.int32), 2)
    assert found.items[found.start[0] : found.stop[0]].tolist() == [1, 0]
    assert found.stop[1] == found.start[1]


def test_als_gives_nothing_to_a_user_without_factors_and_never_an_item_without(view, fitted):
    users, items = fitted.user_factors.copy(), fitted.item_factors.copy()
    users[1] = items[2] = 0
    holed = replace(fitted, user_factors=users, item_factors=items)
    everything = np.ones(len(view.items), bool)
    found = Als(view, holed, everything, True).rank(np.array([0, 1], np.int32), len(view.items))
    assert found.start[1] == found.stop[1]
    assert sorted(found.items[found.start[0] : found.stop[0]]) == [i for i in range(15) if i != 2]


def test_item_item_is_the_product_with_the_similarity(view, fitted):
    users = np.arange(len(view.users), dtype=np.int32)
    found = ItemItem(view, fitted, view.listed, True).rank(users, 3)
    product = (view.weights @ fitted.similarity).toarray()
    for user in users:
        part = slice(found.start[user], found.stop[user])
        top = np.sort(product[user][product[user] > 0])[::-1][:3]
        assert np.allclose(found.scores[part], top, rtol=1e-5)
        assert np.allclose(product[user][found.items[part]], top, rtol=1e-5)


def test_popular_is_the_same_for_everybody(view, fitted):
    found = MostPopular(fitted.popularity, view.listed).rank(np.array([0, 5], np.int32), 4)
    assert found.start.tolist() == [0, 0]
    assert found.stop.tolist() == [4, 4]


def small(data, **candidate):
    return data.model_copy(update={"candidates": data.candidates.model_copy(update=candidate)})


def test_own_history_comes_first(view, fitted, data):
    users = np.array([3, 0], np.int32)
    found = candidates(view, fitted, small(data, limit=8, own=5), users)
    for user, items in zip(users, lists_of(found), strict=True):
        own = Own(view, view.listed).rank(np.array([user]), 5)
        assert items[:5] == own.items[:5].tolist()
        assert len(items) == len(set(items)) == 8
    assert found.personal.all()


def test_all_items_are_candidates_where_the_limit_allows(view, fitted, data):
    found = candidates(view, fitted, data, None)
    assert {tuple(sorted(items)) for items in lists_of(found)} == {tuple(range(15))}


def test_what_is_not_allowed_makes_room_for_what_is(view, fitted, data):
    allowed = np.arange(15) >= 5
    found = candidates(view, fitted, small(data, limit=9), None, allowed)
    assert all(len(items) == 9 and min(items) >= 5 for items in lists_of(found))


@pytest.mark.parametrize("item_item", [0, 3])
def test_without_repeats_nothing_bought_comes_back(view, fitted, no_repeats, item_item):
    found = candidates(view, fitted, small(no_repeats, limit=10, item_item=item_item), None)
    bought = view.weights.toarray() > 0
    for user, items in enumerate(lists_of(found)):
        assert sorted(items) == np.flatnonzero(~bought[user]).tolist()


def test_who_gets_popular_items_only_is_not_personal(view, fitted, data):
    unknown = replace(fitted, user_factors=np.zeros_like(fitted.user_factors))
    found = candidates(view, unknown, small(data, own=0), None)
    assert not found.personal.any()
    assert np.diff(found.indptr).tolist() == [15] * 12


def test_a_ranking_without_items_is_one():
    assert mix([nothing(2)], 5, 3).indptr.tolist() == [0, 0, 0]
