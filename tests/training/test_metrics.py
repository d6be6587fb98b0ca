import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import metrics


def brute(listed: list[int], true: set[int], cut: int) -> dict[str, float]:
    """Each metric of one user as its textbook says."""
    gains = [1 / math.log2(rank + 2) for rank, item in enumerate(listed[:cut]) if item in true]
    best = sum(1 / math.log2(rank + 2) for rank in range(min(cut, len(true))))
    found = [item in true for item in listed[:cut]]
    precisions = [sum(found[: k + 1]) / (k + 1) for k in range(len(found)) if found[k]]
    return {
        "ndcg": sum(gains) / best,
        "recall": sum(found) / len(true),
        "hit_rate": float(any(found)),
        "map": sum(precisions) / min(cut, len(true)),
    }


@given(
    listed=st.lists(st.integers(0, 20), unique=True, max_size=15),
    true=st.sets(st.integers(0, 20), min_size=1),
    cut=st.integers(1, 12),
)
def test_metrics_equal_brute_force(listed, true, cut):
    indptr = np.array([0, len(listed)])
    lists = metrics.head(indptr, np.array(listed, np.int32), np.array([0], np.int32), cut)
    hits = np.isin(lists, list(true)) & (lists >= 0)
    found = metrics.per_user(hits, np.array([len(true)], np.int32))
    assert {name: values[0] for name, values in found.items()} == pytest.approx(brute(listed, true, cut))


def test_a_perfect_list_scores_one_and_an_empty_one_zero():
    hits = np.array([[True, True, False], [False, False, False]])
    found = metrics.per_user(hits, np.array([2, 5], np.int32))
    assert found["ndcg"].tolist() == [1, 0]
    assert found["map"].tolist() == [1, 0]


def test_the_ideal_is_cut_at_what_the_user_has():
    assert metrics.ideal([0, 1, 2, 99], 2).tolist() == pytest.approx(
        [0, 1, 1 + 1 / math.log2(3), 1 + 1 / math.log2(3)]
    )


def test_head_pads_short_lists():
    indptr = np.array([0, 3, 4, 4])
    items = np.array([7, 8, 9, 5], np.int32)
    assert metrics.head(indptr, items, np.array([0, 1, 2], np.int32), 2).tolist() == [
        [7, 8],
        [5, -1],
        [-1, -1],
    ]


def test_mean_over_list_leaves_out_what_is_not_there():
    lists = np.array([[0, 1], [1, -1], [-1, -1]], np.int32)
    assert metrics.mean_over_list(lists, np.array([2.0, 4.0])).tolist() == [3, 4, 0]


def test_resamples_are_seeded_and_draw_as_many_users():
    one, same, other = (metrics.resamples(7, 5, seed) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    assert one.sum(axis=1).tolist() == [7] * 5


def test_an_interval_of_equal_values_is_a_point():
    found = metrics.estimate(np.full(10, 0.25), metrics.resamples(10, 100, 0))
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_an_interval_is_about_two_standard_errors_wide():
    values = np.random.default_rng(0).normal(size=400)
    found = metrics.estimate(values, metrics.resamples(400, 1000, 0))
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_coverage_counts_distinct_items():
    lists = np.array([[0, 1], [1, -1]], np.int32)
    found = metrics.estimate_coverage(lists, metrics.resamples(2, 100, 0), items=4)
    assert found.value == 0.5
    assert found.low <= 0.5 <= found.high


@given(users=st.integers(1, 9), draws=st.integers(1, 140), seed=st.integers(0, 99))
def test_coverage_of_a_draw_is_that_of_its_users(users: int, draws: int, seed: int):
    lists = np.random.default_rng(seed).integers(-1, 6, (users, 3), dtype=np.int32)
    samples = metrics.resamples(users, draws, seed)
    shares = [len({*lists[sample > 0].flat} - {-1}) / 7 for sample in samples]
    value = len({*lists.flat} - {-1}) / 7
    low, high = np.quantile(shares, (0.025, 0.975)) + (value - np.median(shares))
    found = metrics.estimate_coverage(lists, samples, items=7)
    assert [found.value, found.low, found.high] == pytest.approx([value, low, high])
