import pytest
from py4j.protocol import Py4JError

from spark_jobs import session
from spark_jobs.cluster import WAIT
from spark_jobs.session import PARTITIONS, _login, _watch, session_for, shuffle_partitions


@pytest.mark.parametrize(
    ("rows", "cores", "partitions"),
    [(0, 2, 8), (4_000_000, 2, 8), (4_000_001, 2, 9), (1_000, 64, 64), (100_000_000, 64, 200)],
)
def test_partitions_follow_from_rows_and_cores(rows, cores, partitions):
    assert shuffle_partitions(rows, cores) == partitions


@pytest.mark.spark
def test_a_job_says_what_it_may_take_and_keeps_to_the_partitions_that_are_set(spark, caplog):
    """The session of all tests was started with four, and 3g."""
    with caplog.at_level("INFO", "spark_jobs.session"):
        session_for("tests", 100_000_000)
    assert spark.conf.get(PARTITIONS) == "4"
    (line,) = caplog.messages
    assert line.startswith("Spark: local[2], 3g of memory, 4 partitions for 100000000 rows (NIGHTJAR_SPARK_")


def test_a_program_logs_in_to_a_cluster_by_the_secret_of_the_environment(monkeypatch):
    monkeypatch.delenv("_SPARK_AUTH_SECRET", raising=False)
    assert _login() == {}
    monkeypatch.setenv("_SPARK_AUTH_SECRET", "the-secret")
    assert _login() == {"spark.authenticate": "true", "spark.authenticate.secret": "the-secret"}


class Clock:
    """Time that goes on by sleep alone."""

    def __init__(self):
        self._now = 0

    def sleep(self, seconds):
        self._now += seconds

    def monotonic(self):
        return self._now


class Context:
    """A context of a cluster, second by second: the active jobs, and how many executors there are."""

    master = "spark://a:7077"

    def __init__(self, *seconds):
        self._jsc, self._seconds, self.cancelled = self, list(seconds), []

    def getConf(self):  # noqa: N802
        return {WAIT: "2", "spark.executor.memory": "2g"}

    def sc(self):
        return self

    def statusTracker(self):  # noqa: N802
        return self

    def getActiveJobIds(self):  # noqa: N802
        if not self._seconds:
            raise Py4JError("Java has ended")
        self._now = self._seconds.pop(0)
        return self._now[0]

    def getExecutorInfos(self):  # noqa: N802
        return ["the driver", *range(self._now[1])]

    def cancelJob(self, job, reason):  # noqa: N802
        self.cancelled.append((job, reason))


@pytest.mark.parametrize(
    ("seconds", "cancelled"),
    [
        ([([7], 0)] * 2, [7]),
        ([([7, 8], 0)] * 3, [7, 8, 7, 8]),  # once more, for what was submitted meanwhile
        ([([7], 0), ([7], 1), ([7], 0)], []),
        ([([], 0)] * 5, []),  # where executors go when they are idle, none need be there between jobs
        ([([], 0), ([], 0), ([7], 0)], []),
    ],
)
def test_jobs_without_an_executor_for_so_long_are_cancelled(monkeypatch, seconds, cancelled):
    """Spark waited without end, also where the last executor was lost in the middle."""
    monkeypatch.setattr(session, "time", Clock())
    context = Context(*seconds)
    _watch(context)
    assert [job for job, _ in context.cancelled] == cancelled
    assert all("an executor of 2g and all cores within 2 s" in reason for _, reason in context.cancelled)


@pytest.mark.spark
def test_a_cluster_is_watched_once_however_often_its_session_is_asked_for(spark, monkeypatch):
    """Each part of an extract asked for it, and started a thread and a task of its own."""
    taken = []
    monkeypatch.setattr(session.cluster, "is_one", lambda master: True)
    monkeypatch.setattr(session, "_watch", lambda context: taken.append("watch"))
    monkeypatch.setattr(session, "_take_executor", lambda of: taken.append("executor"))
    session.session("tests")  # that of these tests was made before
    assert taken == []
    monkeypatch.setattr(session.SparkSession, "getActiveSession", lambda: None)
    session.session("tests")
    assert sorted(taken) == ["executor", "watch"]
