"""What ends a job on a cluster, from Spark's words to an error that says what to do."""

import re
from typing import Final

from lake import errors
from lake.errors import ClusterUnavailable, ConfigError, NightjarError

_RAISED: Final = re.compile(r"Traceback \(most recent call last\):\n(?:[ ].*\n)+(\S.*)")
"""The last line of a Python traceback; Spark puts Java's words around it."""
_NO_PYTHON: Final = re.compile(r'Cannot run program "[^"]+".*')
_OTHER_PYTHON: Final = ("ModuleNotFoundError", "PYTHON_VERSION_MISMATCH")
_GIVEN_UP: Final = re.compile(
    r"All masters are unresponsive|Master removed our application[^\n]*|Application has been killed[^\n]*|"
    r"Cannot call methods on a stopped SparkContext|SparkContext (?:has been|was) (?:shut down|stopped)"
)

_WITHOUT_EXECUTOR: Final = re.compile(r"\bJob \d+ cancelled (.+: expected an executor .+)")


def no_executor(master: str, size: str, seconds: float) -> str:
    """Why the jobs of a program without an executor of some size are cancelled."""
    return (
        f"{master}: expected an executor of {size} within {seconds:.0f} s, found none: no worker is there, "
        "or none has as much to give; start one, end other jobs, lower NIGHTJAR_SPARK_EXECUTOR_MEMORY or "
        "NIGHTJAR_SPARK_EXECUTOR_CORES, or raise NIGHTJAR_SPARK_WAIT, then run again"
    )


def of_cluster(text: str) -> NightjarError | None:
    """The error that a text of Spark stands for: one of a task's own, or of the cluster; None for others."""
    raised = _RAISED.findall(text)
    if raised and (known := _ours(raised[-1])):
        return known
    if line := next((line for line in raised if any(name in line for name in _OTHER_PYTHON)), None):
        return _of_python(line)
    if match := _NO_PYTHON.search(text):
        return _of_python(match[0])
    if match := _WITHOUT_EXECUTOR.search(text):
        return ClusterUnavailable(match[1])
    if match := _GIVEN_UP.search(text):
        return ClusterUnavailable(
            f"Spark's master gave the job up ({match[0]}): see its log and those of its workers, whose "
            "executors may not start, then run again"
        )
    return None


def _ours(line: str) -> NightjarError | None:
    """The error that a task raised on purpose."""
    name, _, message = line.partition(": ")
    module, _, kind = name.rpartition(".")
    error = getattr(errors, kind, None) if module == errors.__name__ else None
    return error(message) if isinstance(error, type) and issubclass(error, NightjarError) else None


def _of_python(line: str) -> ConfigError:
    return ConfigError(
        f"expected workers with a Python of the driver's version and our requirements, found: {line}; set "
        "NIGHTJAR_SPARK_ARCHIVE or NIGHTJAR_SPARK_PYTHON"
    )
