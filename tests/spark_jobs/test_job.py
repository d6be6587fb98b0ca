import sys
from dataclasses import dataclass

import pytest

from lake import layout, messages
from lake.errors import DiskFull, PermanentError
from lake.storage import open_storage
from spark_jobs.job import JobError, main
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
    messages.write(found, layout.request("a1"), Request(21))
    monkeypatch.setattr(sys, "argv", ["job.py", found.uri(layout.request("a1"))])
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
