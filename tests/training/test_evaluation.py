import datetime as dt

import numpy as np
import pytest

from lake.sections import EvaluationSection
from training import evaluation
from training.labels import Truth

CONFIG = EvaluationSection(cut=2, draws=100)


def field(pairs: list[tuple[int, int]], users: int = 3, items: int = 6) -> evaluation.Field:
    """Users 0.. with these true pairs; item i was bought by i + 1 of 8 users."""
    who, what = (np.array(column, np.int32) for column in zip(*sorted(pairs), strict=True))
    truth = Truth(who, what, np.bincount(who, minlength=users).astype(np.int32))
    bought = np.arange(1, items + 1, dtype=np.float64)
    return evaluation.Field(dt.date(2017, 9, 23), np.unique(who), truth, bought, bought, 8, items)


def lists(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int32)


PAIRS = [(0, 0), (0, 1), (1, 2), (2, 3), (2, -1)]
PERFECT = lists([0, 1], [2, 5], [3, 4])
WRONG = lists([5, 4], [5, 4], [5, 4])
EMPTY = lists([-1, -1], [-1, -1], [-1, -1])


def test_contestants_are_scored_on_the_same_users():
    found = evaluation.evaluate(
        field(PAIRS), {"popularity": WRONG, "als": PERFECT, "challenger": EMPTY}, CONFIG
    )
    best = 1 / (1 + 1 / np.log2(3))
    assert found.users == 3
    assert found.ndcg("als") == pytest.approx((1 + 1 + best) / 3)
    assert found.ndcg("popularity") == found.ndcg("challenger") == 0
    assert found.best_baseline == "als"
    assert found.scores["als"].metrics["recall"].value == pytest.approx((1 + 1 + 0.5) / 3)
    assert found.scores["als"].metrics["coverage"].value == 1
    assert found.scores["popularity"].metrics["coverage"].value == pytest.approx(2 / 6)


def test_novelty_and_popularity_are_of_what_is_listed():
    found = evaluation.evaluate(field(PAIRS), {"popularity": lists([3, -1], [3, -1], [1, -1])}, CONFIG)
    assert found.scores["popularity"].metrics["novelty"].value == pytest.approx((1 + 1 + 2) / 3)
    assert found.scores["popularity"].popularity == pytest.approx((4 + 4 + 2) / 3)


def test_the_gain_is_paired():
    """A challenger that equals the best baseline user by user has a gain of exactly 0, without width."""
    found = evaluation.evaluate(field(PAIRS), {"popularity": PERFECT, "challenger": PERFECT.copy()}, CONFIG)
    gain = found.gains["challenger"]
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)
    assert found.scores["challenger"].metrics["ndcg"].low < found.scores["challenger"].metrics["ndcg"].high


def test_of_equal_baselines_the_first_named_is_best():
    found = evaluation.evaluate(field(PAIRS), {"item_item": PERFECT, "popularity": PERFECT}, CONFIG)
    assert found.best_baseline == "popularity"


def test_churn_is_what_the_champion_does_not_list():
    contestants = {
        "popularity": WRONG,
        "challenger": lists([0, 1], [2, -1], [3, 4]),
        "champion": lists([1, 0], [2, 5], [5, 4]),
    }
    assert evaluation.evaluate(field(PAIRS), contestants, CONFIG).churn == pytest.approx(1 / 5)
    assert evaluation.evaluate(field(PAIRS), {"popularity": WRONG}, CONFIG).churn is None


def test_personal_frequency_is_no_baseline_without_repeats():
    assert "personal_frequency" in evaluation.baselines(repeats=True)
    assert evaluation.baselines(repeats=False) == ("popularity", "als", "item_item")


def test_the_same_seed_gives_the_same_intervals():
    contestants = {"popularity": WRONG, "challenger": PERFECT}
    assert evaluation.evaluate(field(PAIRS), contestants, CONFIG) == evaluation.evaluate(
        field(PAIRS), contestants, CONFIG
    )
