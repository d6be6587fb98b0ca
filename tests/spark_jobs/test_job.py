import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from lake import layout, messages
from lake.errors import DiskFull, PermanentError
from lake.storage import open_storage
from nightjar.servers.waiting import wait_until
from spark_jobs.job import JobError, describe, main
from spark_jobs.submit import raise_job_error


@dataclass(frozen=True)
class Request:
    number: int


@dataclass(frozen=True)
class Result:
    twice: int


@pytest.fixture
def storage(tmp_path, monkeypatch):
    found = open_storage(tmp_path.as_uri())
    messages.write(found, layout.plan("a1"), Request(21))
    monkeypatch.setattr(sys, "argv", ["job.py", found.uri(layout.plan("a1"))])
    return found


def test_the_result_lies_beside_the_request(storage):
    main(Request, lambda request: Result(2 * request.number))
    assert messages.read(storage, layout.result("a1"), Result) == Result(42)
    assert not storage.exists(layout.error("a1"))


@pytest.mark.parametrize(
    ("error", "message", "permanent"),
    [
        (PermanentError("line one\nline two"), "line one\nline two", True),
        (ValueError("[JAVA] broken\n\tat org.apache.spark"), "[JAVA] broken", False),
        (ValueError(), "ValueError()", False),
    ],
)
def test_an_error_lies_beside_the_request(storage, error, message, permanent):
    def fail(_: Request) -> Result:
        raise error

    with pytest.raises(SystemExit):
        main(Request, fail)
    found = messages.read(storage, layout.error("a1"), JobError)
    assert (found.type, found.message, found.permanent) == (type(error).__name__, message, permanent)
    assert "in fail" in found.trace
    assert not storage.exists(layout.result("a1"))


TRACE = """An error occurred while calling o1.parquet.
: org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing rows to file:/lake/t.
\tat org.apache.spark.sql
Caused by: org.apache.parquet.Closed: Unable to close resource
\t... 21 more
Caused by: java.io.IOException: {cause}
\tat java.base/java.io
"""
FAILED = (
    "org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing rows to file:/lake/t."
)


@pytest.mark.parametrize(
    ("cause", "kind", "end"),
    [
        ("Input/output error", "ValueError", ""),
        ("No space left on device", "DiskFull", "; free some space, then run again"),
    ],
)
def test_of_a_java_error_what_failed_and_why_is_told(storage, cause, kind, end):
    def fail(_: Request) -> Result:
        raise ValueError(TRACE.format(cause=cause))

    with pytest.raises(SystemExit):
        main(Request, fail)
    found = messages.read(storage, layout.error("a1"), JobError)
    assert (found.type, found.message) == (kind, f"{FAILED}; java.io.IOException: {cause}{end}")
    assert "Unable to close" in found.trace


ENDED = "org.apache.http.ConnectionClosedException: Premature end of Content-Length delimited message body"
S3A = "\tat org.apache.hadoop.fs.s3a.Invoker.retry"
READING = (
    ": org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered error while reading file "
)
BROTLI = "org.apache.parquet.hadoop.BadConfigurationException: Class BrotliCodec was not found"


@pytest.mark.parametrize(
    ("trace", "kind", "told"),
    [
        (f"{READING}file:///raw/a%20b.parquet.  SQLSTATE: KD001\nCaused by: {BROTLI}", "FileFault", BROTLI),
        (
            f"{READING}file:/x.parquet. \nCaused by: java.lang.OutOfMemoryError: heap",
            "ValueError",
            "OutOfMemory",
        ),
        (f"{READING}s3a://b/x.parquet. \nCaused by: {ENDED}\n{S3A}", "StorageUnavailable", "run again"),
        (
            "[PATH_NOT_FOUND] Path does not exist: file:/a.parquet. SQLSTATE: 42K03",
            "FileFault",
            "PATH_NOT_FOUND",
        ),
    ],
)
def test_a_file_that_spark_cannot_read_is_a_final_fault_of_that_file(trace, kind, told):
    """Told without file and as if a retry might mend it before."""
    found = describe(
        ValueError(f"An error occurred while calling o1.parquet.\n{trace}" if trace[0] == ":" else trace)
    )
    assert (found.type, found.permanent) == (kind, kind == "FileFault")
    assert told in found.message
    if kind == "FileFault":
        assert "parquet: expected a file that Spark can read, found" in found.message


@pytest.mark.parametrize(
    ("trace", "kind"),
    [
        (f": java.io.UncheckedIOException: {ENDED}\n{S3A}\nCaused by: {ENDED}", "lost"),
        (f": {ENDED}\n{S3A}", "lost"),
        (f": java.io.IOException: x\n{S3A}\nCaused by: java.net.SocketException: reset", "lost"),
        (f": java.io.IOException: {ENDED}\n{S3A}", "other"),
        (f": {ENDED}\n\tat org.apache.spark.rpc", "other"),
        (f": java.nio.file.AccessDeniedException: no\n{S3A}", "other"),
    ],
)
def test_a_connection_to_s3_that_was_lost_is_told_from_other_java_errors(trace, kind):
    found = describe(ValueError(f"An error occurred while calling o1.parquet.\n{trace}"))
    ended = found.message.endswith("the connection to the S3 server was lost: run again")
    assert (found.type, ended) == (("StorageUnavailable", True) if kind == "lost" else ("ValueError", False))


def test_an_error_for_which_there_is_no_room_says_that_the_disk_is_full(storage, monkeypatch):
    put_new = type(storage).put_new

    def put_if_empty(self, path, data):
        if data:
            raise DiskFull(path)
        return put_new(self, path, data)

    monkeypatch.setattr(type(storage), "put_new", put_if_empty)
    with pytest.raises(SystemExit):
        main(Request, lambda _: Result(1))
    with pytest.raises(DiskFull, match=r"attempts/a1: .*out of space"):
        raise_job_error(storage, "a1")


JOB = """
import sys, time
from pathlib import Path
from spark_jobs.job import main

def work(request):
    Path(sys.argv[2]).touch()
    time.sleep(600)

main(dict, work)
"""
SUBMITTING = """
import os, subprocess, sys
from spark_jobs.job import SUBMITTER

job = [sys.executable, "-c", *sys.argv[1:]]
told = os.environ | {SUBMITTER: str(os.getpid())}
started = subprocess.Popen(["sh", "-c", 'sleep 600 & "$@"', "sh", *job], env=told, start_new_session=True)
print(started.pid, flush=True)
started.wait()
"""


def _group_is_there(leader):
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(true):
    wait_until(true, lambda: None, "a process", pause=0.05)


def test_a_job_ends_with_all_of_its_group_when_its_submitter_is_killed(tmp_path):
    storage, began = open_storage(tmp_path.as_uri()), tmp_path / "began"
    messages.write(storage, layout.plan("a1"), Request(21))
    line = [sys.executable, "-c", SUBMITTING, JOB, storage.uri(layout.plan("a1")), str(began)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as submitter:
        leader = int(submitter.stdout.readline())
        _wait_until(began.exists)
        assert _group_is_there(leader)
        submitter.kill()
        _wait_until(lambda: not _group_is_there(leader))  # before anyone has reaped it
