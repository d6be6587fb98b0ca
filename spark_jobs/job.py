"""What every job's program does around its `run`: read the request, write the result or the error."""

import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lake import layout, messages
from lake.errors import PermanentError
from lake.storage import open_storage

log = logging.getLogger(__name__)

Request = TypeVar("Request")


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


def main(kind: type[Request], run: Callable[[Request], object]) -> None:
    """Run the request whose URI is the program's only argument.

    The result, or what ended the job, is put beside the request, where `lake.layout` says.

    Parameters
    ----------
    kind
        The request's dataclass.
    run
        The job: a request in, a result (a frozen dataclass) out.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    attempt = sys.argv[1].split("/")[-2]
    storage = open_storage(sys.argv[1].removesuffix(f"/{layout.request(attempt)}"))
    try:
        result = run(messages.read(storage, layout.request(attempt), kind))
        messages.write(storage, layout.result(attempt), result)
    except Exception as error:
        log.exception("the job failed")
        messages.write(storage, layout.error(attempt), describe(error))
        raise SystemExit(1) from error


def describe(error: Exception) -> JobError:
    """An exception as what is put into the attempt's folder; of a Java error the first line."""
    lines = str(error).strip().splitlines() or [repr(error)]
    message = str(error) if isinstance(error, PermanentError) else lines[0]
    trace = "".join(traceback.format_exception(error))
    return JobError(type(error).__name__, message, isinstance(error, PermanentError), trace)
