import datetime as dt

import pytest

from lake.dataset import read_dataset
from lake.sections import PromotionSection
from training import promotion
from training.evaluation import Evaluation, Score
from training.metrics import Estimate

DATA = read_dataset("complete_journey")


def score(ndcg: float, coverage: float = 0.5, popularity: float = 10) -> Score:
    found = {"ndcg": ndcg, "coverage": coverage}
    return Score({name: Estimate(value, value, value) for name, value in found.items()}, popularity)


def evaluation(
    challenger: Score, champion: Score | None = None, users: int = 1000, high: float = 0.0
) -> Evaluation:
    scores = {"popularity": score(0.1), "personal_frequency": score(0.3), "challenger": challenger}
    if champion:
        scores["champion"] = champion
    gains = {"champion": Estimate(-0.01, -0.02, high)}
    return Evaluation(dt.date(2017, 9, 23), users, 10, scores, "personal_frequency", gains, None)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (evaluation(score(0.31)), "promoted"),
        (evaluation(score(0.30)), "baseline"),
        (evaluation(score(0.29)), "baseline"),
        (evaluation(score(float("nan"))), "baseline"),
        (evaluation(score(0.31, coverage=0.25)), "promoted"),
        (evaluation(score(0.31, coverage=0.24)), "baseline"),
        (evaluation(score(0.31, popularity=20)), "promoted"),
        (evaluation(score(0.31, popularity=20.1)), "baseline"),
        (evaluation(score(0.31), champion=score(0.313)), "promoted"),
        (evaluation(score(0.31), champion=score(0.32)), "kept"),
        (evaluation(score(0.29), champion=score(0.295), high=0.001), "kept"),
        (evaluation(score(0.29), champion=score(0.28), high=-0.001), "baseline"),
        (evaluation(score(0.29), champion=score(0.28), high=0.0), "kept"),
        (evaluation(score(0.31), users=99), "untested"),
        (evaluation(score(0.31), users=100), "promoted"),
        (None, "untested"),
    ],
)
def test_the_table_of_outcomes(found, outcome):
    assert promotion.judge(found, DATA).outcome == outcome


def test_a_baseline_decision_names_the_best_one_and_why():
    found = promotion.judge(evaluation(score(0.29)), DATA)
    assert found.baseline == "personal_frequency"
    assert "ndcg above personal_frequency: 0.2900 against the bound 0.3000" in found.reasons


def test_only_a_baseline_decision_names_a_baseline():
    found = promotion.judge(evaluation(score(0.31)), DATA)
    assert found.baseline is None
    assert all(check.passed for check in found.checks)


def test_untested_says_what_was_missing():
    assert promotion.judge(None, DATA, "no snapshot to train on").reasons == ("no snapshot to train on",)
    assert promotion.judge(evaluation(score(0.31), users=3), DATA).reasons == (
        "3 users evaluated, 100 are needed",
    )


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("champion_share", 1.0, evaluation(score(0.31), champion=score(0.313))),
        ("coverage_share", 0.6, evaluation(score(0.31, coverage=0.25))),
        ("popularity_factor", 1.9, evaluation(score(0.31, popularity=20))),
    ],
)
def test_each_bound_is_that_of_the_data_set(key, value, found):
    strict = DATA.model_copy(update={"promotion": PromotionSection(**{key: value})})
    assert promotion.judge(found, DATA).outcome == "promoted"
    assert promotion.judge(found, strict).outcome != "promoted"
