"""ALS by Spark ML as jobs of their own: whatever Spark and Java run on, the factors have the same bytes."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from scipy.sparse import random_array

from lake import layout
from lake.plan import Plan
from lake.sections import RetrievalSection
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.servers.waiting import wait_until
from recommender import retrieval
from spark_jobs import java, submit
from training.spark_als import SparkAls

pytestmark = [pytest.mark.services, pytest.mark.spark]

CONFIG = RetrievalSection(backend="spark", factors=64, iterations=3, regularization=1e-3)
"""With more factors than items and next to no regularization, last digits of all sums reach the factors."""
TWO_EXECUTORS = "local-cluster[2,1,1024]"
"""Spark's own master and two workers, each with an executor of one core in a Java of its own."""
EXECUTOR = "CoarseGrainedExecutorBackend"


@pytest.fixture(scope="module")
def bought():
    """7,500 pairs: several chunks for each block, of what Spark passes on in chunks of 2,048."""
    drawn = random_array((500, 60), density=0.25, rng=np.random.default_rng(2), dtype=np.float32)
    return drawn.tocsr()


def fitted(folder, master, bought):
    settings = Settings(home=folder, spark_memory="1g").model_copy(update={"spark_master": master})
    lake = open_storage(settings.lake)
    training = Plan(stage="train", attempt="a" * 16, version=1, sections={}, based_on={})
    lake.put_new(layout.begun(training.attempt), b"2024-01-05T02:00:00+00:00")
    solve = SparkAls(lake, training, folder, lambda name, attempt: submit.submit(name, attempt, settings))
    return [rows.tobytes() for rows in retrieval.als(bought, CONFIG, 1, solve)]


@pytest.fixture(scope="module")
def on_one_core(tmp_path_factory, bought):
    return fitted(tmp_path_factory.mktemp("one"), "local[1]", bought)


@pytest.mark.parametrize("master", ["local[3]", TWO_EXECUTORS])
def test_neither_cores_nor_executors_change_a_byte(tmp_path, on_one_core, bought, master):
    """Spark sums in the order in which tasks end, and groups in that in which their output arrives."""
    assert fitted(tmp_path, master, bought) == on_one_core


def test_a_java_without_vectors_gives_the_same(tmp_path, on_one_core, bought, monkeypatch):
    """With as many lanes as the processor has, the sums had other last digits than without any."""
    monkeypatch.setattr(java, "_system_homes", list)
    assert fitted(tmp_path, "local[2]", bought) == on_one_core


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0, 2, 5])
def test_an_executor_that_is_killed_changes_no_byte(tmp_path, on_one_core, bought, seconds):
    """What it had computed is computed again by another."""

    def executors():
        below = psutil.Process().children(recursive=True)
        listed = [one for one in psutil.process_iter(["cmdline"]) if one in below]
        return [
            one for one in listed if "CoarseGrainedExecutorBackend" in " ".join(one.info["cmdline"] or ())
        ]

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fitted, tmp_path, TWO_EXECUTORS, bought)
        wait_until(lambda: running.done() or len(executors()) > 1, lambda: 0, "two executors", pause=0.1)
        time.sleep(seconds)
        assert not running.done()
        executors()[-1].kill()
        assert running.result() == on_one_core
