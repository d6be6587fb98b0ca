"""Jobs in the one Spark of a night, by real programs."""

import datetime as dt
import os
import signal
import threading

import pytest

from lake.errors import ConfigError, JobFailed
from lake.processes import in_sessions
from nightjar.servers.waiting import wait_until
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest
from spark_jobs import hosting
from spark_jobs.hosting import Host
from spark_jobs.submit import submit

pytestmark = pytest.mark.spark

FIRST, SECOND = dt.date(2024, 1, 1), dt.date(2024, 1, 2)


@pytest.fixture
def days(tiny, tiny_row, monkeypatch):
    """The tiny data set with two raw days."""
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    for day in (FIRST, SECOND):
        tiny.put(day, [tiny_row(day), tiny_row(day, user=2)])
    return tiny


@pytest.fixture
def programs(monkeypatch):
    """The processes of the hosts that were started, in order."""
    started, start = [], hosting._started

    def noted(job):
        started.append(start(job))
        return started[-1]

    monkeypatch.setattr(hosting, "_started", noted)
    return started


def _ingest(days, day, host):
    attempt = attempts.begin(days.lake, Ingest(), [day])
    submit("extract", attempt, days.settings, host.start)
    return attempts.commit(days.lake, Ingest(), attempt)[-1].counts["clean"]


def test_one_spark_runs_a_job_after_another_until_one_fails(days, programs):
    with Host(days.settings) as host:
        assert [_ingest(days, day, host) for day in (FIRST, SECOND)] == [2, 2]
        assert len(programs) == 1
        with pytest.raises(JobFailed, match="plan"):
            submit("extract", "0123456789abcdef", days.settings, host.start)
        assert programs[0].wait(timeout=60) == 1
    assert not in_sessions({program.pid for program in programs})


def test_a_job_whose_spark_is_killed_fails_and_the_next_has_another(days, programs):
    with Host(days.settings) as host:
        host._connected()
        os.killpg(programs[0].pid, signal.SIGSTOP)  # so that the job does not end first
        killer = threading.Timer(1, os.killpg, [programs[0].pid, signal.SIGKILL])
        killer.start()
        with pytest.raises(JobFailed, match=r"spark-submit ended with -9; see .*/logs/spark/host-"):
            _ingest(days, FIRST, host)
        assert _ingest(days, FIRST, host) == 2


def test_a_spark_that_does_not_start_is_told_as_a_job_s_failure(days, monkeypatch):
    monkeypatch.setattr(hosting, "command", lambda job: ["false"])
    with Host(days.settings) as host, pytest.raises(JobFailed, match="spark-submit ended with 1; see"):
        _ingest(days, FIRST, host)


def test_what_is_missing_is_told_by_the_first_job(days):
    settings = days.settings.model_copy(update={"spark_properties": "/no/such/file"})
    with Host(settings) as host, pytest.raises(ConfigError, match="NIGHTJAR_SPARK_PROPERTIES"):
        submit("extract", "0123456789abcdef", settings, host.start)


def test_a_host_ends_with_its_connection(days, programs):
    """A night that is killed cannot end it."""
    with Host(days.settings) as host:
        connection = host._connected()
        assert connection
        connection.close()

        def left():
            return [process.pid for process in in_sessions({programs[0].pid})]

        wait_until(lambda: not left(), left, "the program to end with its connection", still=60)
