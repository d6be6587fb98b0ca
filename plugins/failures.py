"""How a task fails: at once where a retry cannot mend it, and so that `decide` can name the error."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from lake.errors import PermanentError

ERROR_KEY = "error"


@contextmanager
def reported() -> Iterator[None]:
    """Leave an error's class as XCom, and turn one that a retry cannot mend into a final failure.

    Serves as a decorator too.

    Raises
    ------
    AirflowFailException
        For a `PermanentError`; every other error goes on as it is, and Airflow tries again.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, AirflowException):
            get_current_context()["ti"].xcom_push(ERROR_KEY, type(error).__name__)
        if isinstance(error, PermanentError):
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        raise
