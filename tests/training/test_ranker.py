import numpy as np
import pytest

from lake.settings import Ranker
from training import ranker
from training.sets import RankingSet


@pytest.fixture
def rows() -> RankingSet:
    """400 users with 10 rows each; the first feature tells the label, with noise and gaps."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 5)).astype(np.float32)
    labels = (features[:, 0] + rng.normal(scale=0.5, size=4000) > 1).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    groups = np.repeat(np.arange(400, dtype=np.int32), 10)
    return RankingSet(features, labels, np.ones(4000, np.float32), groups)


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
def test_the_bytes_do_not_depend_on_threads(rows, objective):
    config = Ranker(objective=objective, rounds=20)
    one, again, two = (ranker.train(rows, config, threads).save_raw("ubj") for threads in (1, 1, 2))
    assert one == again == two


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
def test_it_learns_what_the_label_follows(rows, objective):
    booster = ranker.train(rows, Ranker(objective=objective, rounds=20), 1)
    scores = booster.inplace_predict(rows.features)
    assert scores[rows.labels == 1].mean() > scores[rows.labels == 0].mean()
    gains = booster.get_score(importance_type="total_gain")
    assert max(gains, key=gains.get) == "f0"
