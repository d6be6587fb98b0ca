"""An append-only sequence of JSON entries, numbered from 1, each created once and never changed.

Records and the release ledger are both of this kind. The highest number of a full listing is
current; a writer that finds its number taken lists again and decides anew.
"""

import json
from typing import Any

from lake.errors import PermanentError
from lake.storage import Storage
from nightjar_reader.errors import FormatError, is_of_this_process
from nightjar_reader.fields import read_object
from nightjar_reader.sequences import file_name, sequences

Entry = dict[str, Any]


class Ledger:
    """The entries in one folder, as ``<12-digit sequence>.json``."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder

    def _path(self, sequence: int) -> str:
        return f"{self._folder}/{file_name(sequence)}"

    def uri(self, sequence: int) -> str:
        """The whole address of one entry, for messages."""
        return self._storage.uri(self._path(sequence))

    def sequences(self) -> list[int]:
        """The numbers of all entries, ascending."""
        return self._sequences_of(names_in(self._storage, self._folder))

    def _sequences_of(self, names: list[str]) -> list[int]:
        return sequences(names, self._storage.uri(self._folder))

    def latest(self) -> int:
        """The highest number, 0 where there is no entry."""
        return max(self.sequences(), default=0)

    def latest_of(self, names: list[str]) -> int:
        """`latest`, from a listing of all files below the folder, by their paths in it."""
        return max(self._sequences_of(names), default=0)

    def read(self, sequence: int) -> Entry:
        """One entry; `FileNotFoundError` where there is none.

        Raises
        ------
        PermanentError
            When the file is damaged or cannot be read.
        """
        try:
            return read_object(self._storage.read(self._path(sequence)), "entry")
        except FormatError as error:
            raise damaged(self.uri(sequence), error) from error
        except OSError as error:  # of a disk: a server's only one is that there is no such file
            if isinstance(error, FileNotFoundError) or is_of_this_process(error):
                raise
            raise _unreadable(self.uri(sequence), error) from error

    def append(self, sequence: int, entry: Entry) -> bool:
        """Create the entry of that number; False where another writer has taken it."""
        return self._storage.put_new(self._path(sequence), encode(entry))


def encode(entry: Entry) -> bytes:
    """JSON for files that are read by people too: sorted keys, indented, no NaN."""
    return (json.dumps(entry, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def damaged(uri: str, error: object) -> PermanentError:
    """The error for an entry that is not what its writer put there."""
    return PermanentError(
        f"{uri}: {error}. The file was changed or is damaged, or a newer version wrote it; "
        "restore it from a copy, or update Nightjar"
    )


def _unreadable(uri: str, error: OSError) -> PermanentError:
    return PermanentError(
        f"{uri}: expected an entry that can be read, found {error.strerror}; mend its permissions or its "
        "disk, or restore it from a copy"
    )


def names_in(storage: Storage, folder: str) -> list[str]:
    """All files below a folder, by their paths in it."""
    return [path.removeprefix(f"{folder}/") for path in storage.list(folder)]
