"""An append-only sequence of JSON entries, numbered from 1, each created once and never changed.

Records and the release ledger are both of this kind. The highest number of a full listing is
current; a writer that finds its number taken lists again and decides anew.
"""

import json
from pathlib import PurePosixPath
from typing import Any

from lake.storage import Storage

Entry = dict[str, Any]


class Ledger:
    """The entries in one folder, as ``<12-digit sequence>.json``."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder

    def _path(self, sequence: int) -> str:
        return f"{self._folder}/{sequence:012d}.json"

    def sequences(self) -> list[int]:
        """All numbers there are, ascending."""
        return sequences(self._storage.list(self._folder))

    def latest(self) -> int:
        """The highest number, 0 where there is no entry."""
        return max(self.sequences(), default=0)

    def read(self, sequence: int) -> Entry:
        """One entry; `FileNotFoundError` where there is none."""
        entry: Entry = json.loads(self._storage.read(self._path(sequence)))
        return entry

    def append(self, sequence: int, entry: Entry) -> bool:
        """Create the entry of that number; False where another writer has taken it."""
        return self._storage.put_new(self._path(sequence), encode(entry))


def encode(entry: Entry) -> bytes:
    """JSON for files that are read by people too: sorted keys, indented, no NaN."""
    return (json.dumps(entry, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sequences(paths: list[str]) -> list[int]:
    """The numbers in the names of ledger files, ascending."""
    names = (PurePosixPath(path) for path in paths)
    return sorted(int(name.stem) for name in names if name.suffix == ".json" and name.stem.isdigit())
