import threading

import pytest

from spark_jobs.session import PARTITIONS, _cancel_after, _login, session_for, shuffle_partitions


@pytest.mark.parametrize(
    ("rows", "cores", "partitions"),
    [(0, 2, 8), (4_000_000, 2, 8), (4_000_001, 2, 9), (1_000, 64, 64), (100_000_000, 64, 200)],
)
def test_partitions_follow_from_rows_and_cores(rows, cores, partitions):
    assert shuffle_partitions(rows, cores) == partitions


@pytest.mark.spark
def test_a_job_says_what_it_may_take_and_keeps_to_the_partitions_that_are_set(spark, caplog):
    """The session of all tests was started with four."""
    with caplog.at_level("INFO", "spark_jobs.session"):
        session_for("tests", 100_000_000)
    assert spark.conf.get(PARTITIONS) == "4"
    (line,) = caplog.messages
    assert line.startswith("Spark: local[2], 1g of memory, 4 partitions for 100000000 rows (NIGHTJAR_SPARK_")


def test_a_program_logs_in_to_a_cluster_by_the_secret_of_the_environment(monkeypatch):
    monkeypatch.delenv("_SPARK_AUTH_SECRET", raising=False)
    assert _login() == {}
    monkeypatch.setenv("_SPARK_AUTH_SECRET", "the-secret")
    assert _login() == {"spark.authenticate": "true", "spark.authenticate.secret": "the-secret"}


class Context:
    """A context whose job is there after the first try to cancel it, and ends by the second."""

    def __init__(self, taken):
        self.taken, self.tries = taken, 0

    def cancelAllJobs(self):  # noqa: N802
        self.tries += 1
        if self.tries == 2:
            self.taken.set()


def test_a_job_that_is_submitted_too_late_to_be_cancelled_is_cancelled_then():
    """It waited without end."""
    taken = threading.Event()
    context = Context(taken)
    _cancel_after(context, 0, taken)
    assert context.tries == 2


def test_a_job_that_an_executor_took_is_never_cancelled():
    taken = threading.Event()
    taken.set()
    context = Context(taken)
    _cancel_after(context, 60, taken)
    assert context.tries == 0
