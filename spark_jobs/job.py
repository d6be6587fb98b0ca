"""What every job's program does around its `run`: read the request, write the result or the error."""

import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lake import messages
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

    `result.json`, or on an error `error.json`, is put beside the request, in the attempt's folder.

    Parameters
    ----------
    kind
        The request's dataclass.
    run
        The job: a request in, a result (a frozen dataclass) out.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    folder, _, name = sys.argv[1].rpartition("/")
    storage = open_storage(folder)
    try:
        result = run(messages.read(storage, name, kind))
        messages.write(storage, "result.json", result)
    except Exception as error:
        log.exception("the job failed")
        messages.write(storage, "error.json", describe(error))
        raise SystemExit(1) from error


def describe(error: Exception) -> JobError:
    """An exception as what is put into `error.json`; of a Java error the first line."""
    lines = str(error).strip().splitlines() or [repr(error)]
    message = str(error) if isinstance(error, PermanentError) else lines[0]
    trace = "".join(traceback.format_exception(error))
    return JobError(type(error).__name__, message, isinstance(error, PermanentError), trace)
