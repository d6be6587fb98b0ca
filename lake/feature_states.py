"""States of features: what a night's features begin with instead of all history.

A state is kept by the digests of what it holds (`lake.caches`). So one that a mended day has made
obsolete is never found, and the nearest one that still holds is.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from lake import layout
from lake.caches import ContentCache, Kept, Origins
from lake.names import TableName
from lake.records import Input
from lake.storage import Storage

KIND: Final = "feature_state"
_FORMAT: Final = 2  # raised when a state is written in another way


@dataclass(frozen=True)
class StateFiles:
    """A state that is kept.

    Attributes
    ----------
    as_of
        Its day.
    files
        Paths in the lake, by the table whose keys it is about.
    """

    as_of: dt.date
    files: dict[str, tuple[str, ...]]


def origins(version: int, config_digest: str, inputs: Iterable[Input], as_of: dt.date) -> Origins:
    """All that decides a state: how it is computed, and every row that had landed.

    Parameters
    ----------
    version, config_digest
        Of the features stage.
    inputs
        What an attempt reads; of it the interactions up to `as_of` count.
    """
    days = ([i.partition, i.digest] for i in inputs if i.name == TableName.INTERACTIONS and i.day <= as_of)
    return {
        "format": _FORMAT,
        "version": version,
        "config": config_digest,
        "as_of": as_of.isoformat(),
        "landed": sorted(days),
    }


def folder(attempt: str, as_of: dt.date) -> str:
    """Where an attempt writes a state."""
    return layout.cached(KIND, as_of, attempt)


def keep(storage: Storage, made_from: Origins, as_of: dt.date, attempt: str) -> None:
    """Keep the state whose files an attempt has written into its folder."""
    written = folder(attempt, as_of)
    with ExitStack() as open_files:
        files = {
            path.removeprefix(f"{written}/"): open_files.enter_context(storage.fetched(path))
            for path in storage.list(written)
            if path.endswith(".parquet")
        }
        ContentCache(storage, KIND, as_of).refer(made_from, written, files)


def newest(storage: Storage, made_from: Mapping[dt.date, Origins]) -> StateFiles | None:
    """The newest state of some days that is kept and undamaged.

    Parameters
    ----------
    made_from
        What that of each day would be made from.
    """
    paths = set(storage.list(f"{layout.CACHES}/{KIND}"))
    for as_of in sorted(made_from, reverse=True):
        cache = ContentCache(storage, KIND, as_of)
        if cache.path(made_from[as_of]) in paths and (kept := cache.entry(made_from[as_of])):
            return StateFiles(as_of, _by_table(kept))
    return None


def _by_table(kept: Kept) -> dict[str, tuple[str, ...]]:
    files: dict[str, list[str]] = defaultdict(list)
    for name in sorted(kept.files):
        files[name.partition("/")[0]].append(f"{kept.folder}/{name}")
    return {table: tuple(paths) for table, paths in files.items()}
