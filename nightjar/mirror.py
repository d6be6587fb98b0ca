"""The mirror: Delta tables, for other tools, that follow the records.

It runs after a night whatever became of it, and nothing waits for it. A mirror that failed or was
killed is mended by the next one.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lake import tables
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.console import step

log = logging.getLogger(__name__)


def run(settings: Settings) -> dict[str, int]:
    """Make the Delta tables show what the current records name; gives the version of each."""
    return tables.mirror(open_storage(settings.lake), settings.data.id_type)


@contextmanager
def afterwards(settings: Settings) -> Iterator[None]:
    """Mirror at the end of some work, also when it failed; that the mirror fails is a warning."""
    try:
        yield
    finally:
        try:
            with step("mirror the tables to Delta"):
                run(settings)
        except Exception as error:
            log.warning(
                "the Delta tables of %s lag behind (%s: %s); the next mirror mends it",
                settings.lake,
                type(error).__name__,
                error,
            )
