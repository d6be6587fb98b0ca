"""ALS by Spark ML in the Spark session of this process; tests/services/test_als.py starts jobs by submit."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix

from lake import layout, messages
from lake.plan import Plan
from lake.sections import RetrievalSection
from lake.settings import Settings
from lake.storage import LocalStorage
from recommender import retrieval
from recommender.retrieval import known
from spark_jobs.plans import AlsPlan, AlsResult
from training.spark_als import SparkAls, mean_pairs

pytestmark = pytest.mark.spark

CONFIG = RetrievalSection(backend="spark", factors=8)
TRAINING = Plan(stage="train", attempt="a" * 16, version=1, sections={}, based_on={dt.date(2024, 1, 5): 0})


def groups(weight=1.0):
    """Purchases of 120 users, each of 6 of the 15 items of its group; the group of each user."""
    rng = np.random.default_rng(1)
    group = rng.integers(0, 4, 120)
    bought = np.zeros((120, 60), np.float32)
    for user in range(120):
        mine = rng.choice(np.arange(15) * 4 + group[user], 6, replace=False)
        bought[user, mine] = weight * rng.uniform(0.5, 1, 6)
    return csr_matrix(bought), group


@pytest.fixture
def lake(tmp_path):
    return LocalStorage(tmp_path / "home" / "lake")


@pytest.fixture
def jobs():
    """The attempts of the jobs that ran."""
    return []


@pytest.fixture
def solve(lake, tmp_path, submit_here, jobs):
    settings = Settings(home=tmp_path / "home")

    def submit(name, attempt):
        jobs.append(attempt)
        submit_here(name, attempt, settings)

    lake.put_new(layout.begun(TRAINING.attempt), b"2024-01-05T02:00:00+00:00")
    return SparkAls(lake, TRAINING, tmp_path, submit)


def test_groups_of_users_get_lists_of_their_groups(solve, caplog):
    bought, group = groups()
    users, items = retrieval.als(bought, CONFIG, 1, solve)
    assert (users.dtype, users.shape) == (np.float32, (120, 8))
    assert (items.dtype, items.shape) == (np.float32, (60, 8))
    best = np.argsort(-(users @ items.T), kind="stable")[:, :15]
    assert (best % 4 == group[:, None]).all()
    assert [entry for entry in caplog.records if entry.levelname == "WARNING"] == []


def test_nobody_without_a_purchase_of_any_weight_is_known_as_with_implicit(solve):
    bought, _ = groups()
    bought = bought.toarray()
    bought[7] = 0
    bought[:, 11] = 0
    for weights in (csr_matrix(bought), csr_matrix(bought * np.float32(0))):
        by_spark = retrieval.als(weights, CONFIG, 1, solve)
        by_implicit = retrieval.als(weights, CONFIG, 1)
        for mine, theirs in zip(by_spark, by_implicit, strict=True):
            assert known(mine).tolist() == known(theirs).tolist()


def test_where_nothing_was_bought_no_job_runs(solve, jobs):
    users, items = retrieval.als(csr_matrix((5, 3), dtype=np.float32), CONFIG, 1, solve)
    assert (users.tolist(), items.tolist()) == ([[0] * 8] * 5, [[0] * 8] * 3)
    assert jobs == []


@pytest.mark.parametrize("case", [{"regularization": 1e5}, {"regularization": 1e6}])
def test_factors_that_shrank_to_noise_know_nobody_and_are_told(solve, caplog, case):
    users, items = retrieval.als(groups()[0], CONFIG.model_copy(update=case), 1, solve)
    assert not known(users).any()
    assert not known(items).any()
    told = [entry.getMessage() for entry in caplog.records if entry.name == "recommender.retrieval"]
    assert len(told) == 1
    assert "ALS learned nothing of 120 of 120 users and 60 of 60 items" in told[0]


def test_the_plan_says_what_spark_is_asked(solve, lake, jobs):
    bought, _ = groups()
    chosen = CONFIG.model_copy(update={"alpha": 3.0, "iterations": 2, "seed": 5, "regularization": 9.0})
    retrieval.als(bought, chosen, 1, solve)
    [attempt] = jobs
    plan = messages.read(lake, layout.plan(attempt), AlsPlan)
    assert plan.config.retrieval == chosen
    assert (plan.stage, plan.day) == (TRAINING.stage, TRAINING.day)
    assert lake.read(layout.begun(attempt)) == lake.read(layout.begun(TRAINING.attempt))
    assert plan.regularization == 9.0 / (2 * 720 / 180)
    with lake.open(plan.confidence) as file:
        pairs = pq.read_table(file).to_pydict()
    assert plan.pairs == len(pairs["user"]) == 720
    place = 0
    user, item = pairs["user"][place], pairs["item"][place]
    assert pairs["confidence"][place] == pytest.approx(np.log1p(4 * bought[user, item]))


def test_pairs_are_counted_of_those_that_have_some():
    assert mean_pairs(csr_matrix(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], np.float32))) == 2 * 3 / (2 + 2)


def test_the_bytes_do_not_depend_on_how_the_pairs_lie_in_the_file(solve, lake, jobs, submit_here, tmp_path):
    """Spark adds up in the order of rows, of partitions, and of what arrives first.

    It does so in doubles. Their last digits reach factors where there are more of these than items, and
    next to no regularization.
    """
    bought, _ = groups()
    wanted = solve(bought, CONFIG.model_copy(update={"factors": 64, "regularization": 1e-3}))
    plan = messages.read(lake, layout.plan(jobs[0]), AlsPlan)
    with lake.open(plan.confidence) as file:
        rows = pq.read_table(file)
    shuffled = rows.take(pa.array(np.random.default_rng(3).permutation(len(rows))))
    other = tmp_path / "other.parquet"
    pq.write_table(shuffled, other, row_group_size=100)
    again = replace(plan, attempt="b" * 16, confidence=layout.attempt("b" * 16, "confidence.parquet"))
    lake.put_file(again.confidence, other)
    messages.write(lake, layout.plan("b" * 16), again)
    submit_here("als", "b" * 16, Settings(home=tmp_path / "home"))
    made = messages.read(lake, layout.result("b" * 16), AlsResult)
    assert solve._rows(made.users, 120, 64).tobytes() == wanted[0].tobytes()
    assert solve._rows(made.items, 60, 64).tobytes() == wanted[1].tobytes()
