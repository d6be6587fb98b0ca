import weakref

import numpy as np
import pytest
import xgboost

from lake.sections import RankerSection
from training import ranker
from training.set_files import RankingSet


@pytest.fixture
def rows() -> RankingSet:
    """400 users with 10 rows each; the first feature tells the label, with noise and gaps."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 5)).astype(np.float32)
    labels = (features[:, 0] + rng.normal(scale=0.5, size=4000) > 1).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    groups = np.repeat(np.arange(400, dtype=np.int32), 10)
    weights = rng.uniform(0.2, 1, 400).astype(np.float32)[groups]
    return RankingSet(features, labels, weights, groups)


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
def test_the_bytes_do_not_depend_on_threads(rows, objective):
    config = RankerSection(objective=objective, rounds=20)
    one, again, two = (fit([rows], config, threads).save_raw("ubj") for threads in (1, 1, 2))
    assert one == again == two


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
@pytest.mark.parametrize("users", [1, 7, 8192])
def test_the_bytes_do_not_depend_on_how_rows_are_cut_into_parts(rows, objective, users):
    """At once they were copied into one array, which is where large sets died of memory."""
    config = RankerSection(objective=objective, rounds=5, min_child_weight=2)
    few = parts_of(rows, 60)[0]
    assert fit(parts_of(few, users), config, 2).save_raw("ubj") == whole(few, config).save_raw("ubj")


def test_one_part_is_in_memory_at_a_time(rows):
    """All parts, and then rows and their quantiles together, were the peak of memory."""
    alive: list[weakref.ref] = []

    def parts():
        for part in parts_of(rows, 40):
            assert sum(held() is not None for held in alive) <= 1  # the one that was given last
            copy = RankingSet(*(column.copy() for column in vars(part).values()))
            alive.append(weakref.ref(copy.features))
            yield copy
            del copy

    matrix = ranker.quantised(parts, RankerSection(), 1)
    assert len(alive) >= 10
    assert all(held() is None for held in alive[:-1])
    assert matrix.num_row() == len(rows.labels)


def fit(parts, config, threads):
    return ranker.train(ranker.quantised(lambda: iter(parts), config, threads), config, threads)


def parts_of(rows, users):
    cuts = range(0, len(rows.labels), 10 * users)
    columns = (rows.features, rows.labels, rows.weights, rows.groups)
    return [RankingSet(*(column[at : at + 10 * users] for column in columns)) for at in cuts]


def whole(rows, config):
    """One array, as XGBoost takes it without an iterator."""
    grouping = {"qid": rows.groups} if config.objective == "rank:ndcg" else {"weight": rows.weights}
    matrix = xgboost.QuantileDMatrix(rows.features, rows.labels, **grouping)
    return ranker.train(matrix, config, 1)


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
def test_the_bytes_do_not_depend_on_whether_rows_are_on_disk(rows, objective, tmp_path):
    config = RankerSection(objective=objective, rounds=5, subsample=0.8, min_child_weight=2)
    parts = parts_of(rows, 60)
    matrix = ranker.quantised(lambda: iter(parts), config, 2, tmp_path)
    assert any(path.stat().st_size for path in tmp_path.iterdir())
    assert ranker.train(matrix, config, 2).save_raw("ubj") == fit(parts, config, 1).save_raw("ubj")


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
def test_it_learns_what_the_label_follows(rows, objective):
    booster = fit([rows], RankerSection(objective=objective, rounds=20), 1)
    scores = booster.inplace_predict(rows.features)
    assert scores[rows.labels == 1].mean() > scores[rows.labels == 0].mean()
    gains = booster.get_score(importance_type="total_gain")
    assert max(gains, key=gains.get) == "f0"
