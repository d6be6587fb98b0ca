"""The mirror: Delta tables, for other tools, that follow the records.

It runs after a night whatever became of it, and nothing waits for it. A mirror that failed or was
killed is mended by the next one.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lake import tables
from lake.lake import Lake
from nightjar.console import step

log = logging.getLogger(__name__)


def run(lake: Lake) -> dict[str, int]:
    """Make the Delta tables show what the current records name; returns the version of each."""
    return tables.mirror(lake.storage, lake.data.id_type)


@contextmanager
def afterwards(lake: Lake) -> Iterator[None]:
    """Mirror after some work, also when the work failed; a mirror that fails is only a warning."""
    try:
        yield
    finally:
        try:
            with step("mirror the tables to Delta"):
                run(lake)
        except Exception as error:
            log.warning(
                "the Delta tables of %s lag behind (%s: %s); the next mirror mends it",
                lake.uri,
                type(error).__name__,
                error,
            )
