import sys
from dataclasses import dataclass

import pytest

from lake import layout, messages
from lake.errors import PermanentError
from lake.storage import open_storage
from spark_jobs.job import JobError, main


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
