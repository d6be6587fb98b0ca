import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lake import layout, messages
from lake.errors import ConfigError, GateFailed, JobFailed
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.servers.waiting import wait_until
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest
from spark_jobs import java, options
from spark_jobs.job import JobError
from spark_jobs.submit import _run, command, job_of, raise_job_error, spark_conf, submit

DAY = dt.date(2024, 1, 1)


def test_the_command_names_master_memory_program_and_plan(tmp_path):
    settings = Settings(home=tmp_path, spark_master="local[2]", spark_memory="3g")
    line = command(job_of("extract", "a1", settings))
    assert line[0].endswith("pyspark/bin/spark-submit")
    assert line[1:5] == ["--master", "local[2]", "--conf", "spark.driver.memory=3g"]
    assert line[-2].endswith("spark_jobs/extract.py")
    assert line[-1] == open_storage(settings.lake).uri(layout.plan("a1"))


FEW, MANY = (
    {"TieredStopAtLevel": "1"},
    {"Tier4InvocationThreshold": "50000", "Tier4BackEdgeThreshold": "400000"},
)


@pytest.mark.parametrize(("has_few_rows", "expected"), [(True, FEW), (False, MANY)])
def test_java_compiles_well_only_what_is_hot_and_collects_in_parallel(tmp_path, has_few_rows, expected):
    conf = job_of("extract", "a1", Settings(home=tmp_path), has_few_rows).conf
    flags = options.java(has_few_rows)
    assert conf["spark.driver.defaultJavaOptions"].startswith(" ".join(flags))
    program = java.java_home(Settings(home=tmp_path)) / "bin" / "java"
    line = [program, *flags, "-XX:+PrintFlagsFinal", "-version"]
    shown = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert (expected | {"UseParallelGC": "true"}).items() <= {
        name: value for _, name, _, value, *_ in map(str.split, shown.splitlines()[1:])
    }.items()


@pytest.mark.parametrize(("most", "is_few"), [(2, True), (1, False)])
def test_an_extract_of_few_rows_does_without_the_second_compiler(tiny, tiny_row, monkeypatch, most, is_few):
    monkeypatch.setattr(options, "FEW_ROWS", most)
    tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=2)])
    attempt, started = attempts.begin(tiny.lake, Ingest(), [DAY]), []
    with pytest.raises(JobFailed):
        submit("extract", attempt, tiny.settings, lambda job: str(started.append(job)))
    assert ("TieredStopAtLevel" in started[0].conf["spark.driver.defaultJavaOptions"]) == is_few


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:7070/")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")


@pytest.mark.parametrize("place", ["lake", "raw"])
@pytest.mark.usefixtures("server")
def test_on_s3_spark_is_told_where_and_never_with_which_keys(tmp_path, place):
    settings = Settings(home=tmp_path, **{place: "s3://bucket/prefix"})
    conf = spark_conf(settings)
    told = {name.removeprefix("spark.hadoop.fs.s3a."): value for name, value in conf.items()}
    assert told["endpoint"] == "http://127.0.0.1:7070"
    assert told["endpoint.region"] == "eu-central-1"
    assert (told["path.style.access"], told["connection.ssl.enabled"]) == ("true", "false")
    assert conf["spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version"] == "1"
    assert conf["spark.jars.ivy"] == str(tmp_path / "ivy")
    assert "hadoop-aws" in conf["spark.jars.packages"]
    line = " ".join(command(job_of("extract", "a1", settings)))
    assert "fs.s3a.endpoint=http" in line
    assert not any(key in line for key in ("the-access-key", "the-secret-key"))


@pytest.mark.usefixtures("server")
def test_on_disk_spark_needs_no_jars_also_where_releases_are_on_s3(tmp_path):
    settings = Settings(home=tmp_path, releases="s3://bucket/prefix")
    assert not {name for name in spark_conf(settings) if "s3" in name or "jars" in name}


@pytest.mark.parametrize(("master", "least"), [("local[2]", 3600), ("spark://127.0.0.1:7077", 60)])
def test_heartbeats_are_seldom_as_a_cached_table_may_end_them(tmp_path, master, least):
    """A job of ten minutes lost all that it had cached, and made it again, after one null pointer."""
    conf = spark_conf(Settings(home=tmp_path, spark_master=master))
    beat, wait = (
        int(conf[name].removesuffix("s"))
        for name in ("spark.executor.heartbeatInterval", "spark.network.timeout")
    )
    assert least <= beat <= wait / 4


def test_a_job_that_needs_options_of_its_own_has_them_and_no_other_job(tmp_path):
    """How Java sums decides the last digits of ALS."""
    settings = Settings(home=tmp_path, spark_master="local[2]")
    plain, als = (job_of(name, "a1", settings).conf for name in ("extract", "als"))
    assert als.items() > plain.items()
    assert "-XX:MaxVectorSize=16" in als["spark.executor.extraJavaOptions"]
    assert als["spark.driver.extraJavaOptions"] == als["spark.executor.extraJavaOptions"]


def test_partitions_that_are_set_go_to_spark(tmp_path):
    settings = Settings(home=tmp_path, spark_partitions=24)
    assert spark_conf(settings)["spark.sql.shuffle.partitions"] == "24"


def test_a_job_with_a_result_raises_nothing(tmp_path):
    storage = open_storage(tmp_path.as_uri())
    storage.put_new(layout.result("a"), b"{}")
    raise_job_error(storage, "a")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (JobError("GateFailed", "too bad", True), GateFailed, "^too bad$"),
        (JobError("AnalysisException", "no column", False), JobFailed, "^AnalysisException: no column$"),
        (JobError("log", "a name of the module that is no error", False), JobFailed, "^log: a name"),
    ],
)
def test_the_jobs_own_error_is_raised(tmp_path, error, kind, message):
    storage = open_storage(tmp_path.as_uri())
    messages.write(storage, layout.error("a"), error)
    with pytest.raises(kind, match=message):
        raise_job_error(storage, "a")


def test_a_job_that_left_nothing_is_a_failure(tmp_path):
    with pytest.raises(JobFailed, match=r"attempt a has no result: spark-submit ended with 137"):
        raise_job_error(open_storage(tmp_path.as_uri()), "a", "spark-submit ended with 137")


STUBBORN = """
import os, pathlib, signal, sys, time
if sys.argv[2] == "ignores":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
time.sleep(3600)
"""


def _interrupt(folder):
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.02)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("leader", ["ends", "ignores"])
def test_an_interrupted_run_leaves_nothing_of_the_job(tmp_path, monkeypatch, leader):
    monkeypatch.setattr("spark_jobs.submit.STOP_SECONDS", 0.5)
    folder = tmp_path / "pids"
    folder.mkdir()
    threading.Thread(target=_interrupt, args=[folder], daemon=True).start()
    line = [sys.executable, "-c", STUBBORN, str(folder), leader]
    with pytest.raises(KeyboardInterrupt):
        _run(line, dict(os.environ), tmp_path / "log")

    def left():
        return [path.name for path in folder.iterdir() if _runs(path.name)]

    wait_until(lambda: not left(), left, "the job's processes to end", still=300, pause=0.02)


@pytest.mark.spark
def test_spark_submit_runs_a_job_with_the_embedded_java(tiny, tiny_row, monkeypatch):
    monkeypatch.setattr(java, "_system_homes", list)
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=2)])
    attempt = attempts.begin(tiny.lake, Ingest(), [DAY])
    submit("extract", attempt, tiny.settings)
    assert attempts.commit(tiny.lake, Ingest(), attempt)[-1].counts["clean"] == 2


@pytest.mark.parametrize("lacking", ["environment", "spark_home"])
def test_a_machine_without_java_or_spark_is_told_so_as_what_no_retry_mends(tmp_path, monkeypatch, lacking):
    """It was a job without a result, and was tried twice more."""

    def missing(*_):
        raise ConfigError("none is here")

    monkeypatch.setattr(f"spark_jobs.submit.{lacking}", missing)
    with pytest.raises(ConfigError, match="^none is here$"):
        submit("extract", "a1", Settings(home=tmp_path))
