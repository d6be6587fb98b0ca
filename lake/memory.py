"""How much memory this process may use, and which part of it Spark takes."""

import proclimits
import psutil

MIB = 2**20

SPARK_SHARE = 3
"""Spark's JVM gets one part of so many. Airflow takes about 1.5 GiB beside it, and in a backfill training and
lists of other nights run at the same time."""
LEAST_MIB = 1024
"""The nights of the tests run in so much, so a small machine gets no less than what is known to do."""
MOST_MIB = 4096
"""What does not fit is spilled to disk, whose page cache makes better use of more than this."""


def limit() -> int:
    """The bytes that it may use: the limit of its cgroup or of one above it, else those of the machine."""
    budget = proclimits.get_memory_budget()
    return psutil.virtual_memory().total if budget is None else budget.limit


def of_spark(available: int) -> str:
    """How much of so many bytes Spark's JVM gets, as Spark spells it."""
    return f"{spark_mib(available)}m"


def spark_mib(available: int) -> int:
    """The same in MiB."""
    return min(max(available // SPARK_SHARE // MIB, LEAST_MIB), MOST_MIB)
