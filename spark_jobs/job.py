"""The frame of every job's program: it reads the plan, calls `run`, and writes the result or the error."""

import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote

from lake import layout, messages
from lake.disk import NO_ROOM
from lake.errors import DiskFull, FileFault, NightjarError, PermanentError, StorageUnavailable
from lake.processes import is_running
from lake.storage import Storage, open_storage
from spark_jobs.faults import of_cluster

log = logging.getLogger(__name__)

SUBMITTER = "NIGHTJAR_SUBMITTER"
"""The environment variable with the id of the process that waits for the job on this machine."""
WATCH_SECONDS = 1.0
"""Between two looks at that process: a job outlives it, and holds its memory, no longer than this."""

Task = TypeVar("Task")

_NO_ROOM = tuple(os.strerror(number) for number in NO_ROOM)
_JAVA_ERROR = re.compile(r"^(?:: |Caused by: )(.+)$", re.MULTILINE)
_UNREAD = re.compile(r"(?:while reading file|Path does not exist:) (.+?)\.(?:\s|$)")
_NO_FAULT_OF_A_FILE = re.compile(
    r"java\.lang\.OutOfMemoryError|org\.apache\.hadoop\.fs\.s3a|software\.amazon"
)
_S3A = "org.apache.hadoop.fs.s3a."
_LOST = re.compile(
    r"[\w.]+\.(?:ConnectionClosed|NoHttpResponse|(?:HttpHost)?Connect(?:Timeout)?|Socket(?:Timeout)?|SSL)Exception\b"
)


@dataclass(frozen=True)
class Unread:
    """A file that Spark could not read.

    Attributes
    ----------
    path
        As Spark spells it.
    why
        The first cause: the last "Caused by" of Java's trace.
    """

    path: str
    why: str


@dataclass(frozen=True)
class JobError:
    """Why a job ended without a result.

    Attributes
    ----------
    type
        The exception's class.
    message
        What it said.
    permanent
        Whether a retry cannot mend it.
    trace
        The Python traceback, for the log.
    """

    type: str
    message: str
    permanent: bool
    trace: str = ""


def main(
    kind: type[Task], run: Callable[[Task], object], result: Callable[[str], str] = layout.result
) -> None:
    """Run the plan whose URI is the program's only argument.

    The result, or what ended the job, is put beside the plan, where `lake.layout` says. When the
    process that waits for it is killed, the job ends with its whole process group: nobody would use
    what it makes, and its memory is needed by the next try.

    Parameters
    ----------
    kind
        The plan's dataclass.
    run
        The job: a plan in, a result (a frozen dataclass) out.
    result
        The path of the result of an attempt.
    """
    begin()
    if not carry_out(sys.argv[1], kind, run, result):
        raise SystemExit(1)


def begin() -> None:
    """Write the log to standard error, and end with the process that waits."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if submitter := os.environ.get(SUBMITTER):
        threading.Thread(target=_end_with, args=[int(submitter)], daemon=True).start()


def carry_out(
    plan_uri: str,
    kind: type[Task],
    run: Callable[[Task], object],
    result: Callable[[str], str] = layout.result,
) -> bool:
    """Run a plan and put its result, or its error, beside it; whether there is a result."""
    attempt = plan_uri.split("/")[-2]
    storage = open_storage(plan_uri.removesuffix(f"/{layout.plan(attempt)}"))
    try:
        made = run(messages.read(storage, layout.plan(attempt), kind))
        messages.write(storage, result(attempt), made)
    except Exception as error:
        log.exception("the job failed")
        _put(storage, layout.error(attempt), describe(error))
        return False
    return True


def _end_with(submitter: int) -> None:
    """End this process group, which holds the JVM, once the submitter is gone."""
    while is_running(submitter):
        time.sleep(WATCH_SECONDS)
    log.error("the process that started this job is gone: the job ends too")
    os.killpg(os.getpgrp(), signal.SIGTERM)


def _put(storage: Storage, path: str, error: JobError) -> None:
    """Put an error beside the plan. On a full disk put an empty file, which needs no space."""
    try:
        messages.write(storage, path, error)
    except DiskFull:
        storage.put_new(path, b"")


def unread(error: Exception) -> Unread | None:
    """The file that Spark could not read, if that is the error; None for any other error."""
    text = str(error)
    match, causes = _UNREAD.search(text), _JAVA_ERROR.findall(text)
    why = causes[-1] if causes else text.strip().partition("\n")[0]
    of_the_machine = _has_no_room(text) or _lost_s3(text) or _NO_FAULT_OF_A_FILE.match(why)
    if isinstance(error, NightjarError) or match is None or of_the_machine:
        return None
    return Unread(unquote(match[1]), why)


def describe(error: Exception) -> JobError:
    """An exception as a `JobError`; of a Java error the failure and its first cause."""
    text = str(error).strip() or repr(error)
    trace = "".join(traceback.format_exception(error))
    if known := error if isinstance(error, NightjarError) else of_cluster(text):
        return JobError(type(known).__name__, str(known) or text, isinstance(known, PermanentError), trace)
    if _has_no_room(text):
        return JobError(DiskFull.__name__, f"{_briefly(text)}; free some space, then run again", False, trace)
    if _lost_s3(text):
        message = f"{_briefly(text)}; the connection to the S3 server was lost: run again"
        return JobError(StorageUnavailable.__name__, message, False, trace)
    if file := unread(error):
        message = f"{file.path}: expected a file that Spark can read, found {file.why}; deliver it again"
        return JobError(FileFault.__name__, message, True, trace)
    return JobError(type(error).__name__, _briefly(text), False, trace)


def _has_no_room(text: str) -> bool:
    return any(words in text for words in _NO_ROOM)


def _lost_s3(text: str) -> bool:
    return _S3A in text and any(map(_LOST.match, _JAVA_ERROR.findall(text)))


def _briefly(text: str) -> str:
    """The first line of a text; of a Java trace its error and its first cause."""
    causes = _JAVA_ERROR.findall(text)
    return "; ".join(dict.fromkeys((causes[0], causes[-1]))) if causes else text.splitlines()[0]
