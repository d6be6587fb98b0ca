"""Caches: files kept by the digest of what they were made from.

A cache saves time and changes nothing: without it the same comes out, and whether a record is fresh is
never asked of it. So whatever lies below `caches/` may be removed, and what is damaged is made anew.
"""

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lake import layout
from lake.disk import sha256_of
from lake.errors import PermanentError
from lake.storage import Storage
from nightjar_reader.errors import is_of_this_process

log = logging.getLogger(__name__)

Origins = Mapping[str, Any]
"""All that decides what was made, as JSON values."""


@dataclass(frozen=True)
class Kept:
    """What a cache knows of one thing that was made.

    Attributes
    ----------
    made_from
        All that decides it.
    folder
        Where its files lie in the lake.
    files
        SHA-256 (hex) of each, by name.
    """

    made_from: Origins
    folder: str
    files: Mapping[str, str]


class _Damaged(Exception):
    """Something kept is not what was put there."""


@dataclass(frozen=True)
class ContentCache:
    """The things of one kind and one as-of day that are kept.

    Attributes
    ----------
    kind
        A word for messages and paths, such as ``retrieval``.
    day
        The as-of day: by it maintenance knows what no night will take again (`lake.retention`).
    """

    storage: Storage
    kind: str
    day: dt.date

    @contextmanager
    def opened(self, made_from: Origins) -> Iterator[Mapping[str, Path] | None]:
        """The files that were made from something, by name; None where it is not kept or damaged.

        The files are local, and to be read only while the context lasts.
        """
        with ExitStack() as open_files:
            kept = self._kept(made_from, open_files)
            yield kept and kept[1]

    def entry(self, made_from: Origins) -> Kept | None:
        """What is known of it, for who reads its files by their paths; None where `opened` gives none."""
        with ExitStack() as open_files:
            kept = self._kept(made_from, open_files)
            return kept and kept[0]

    def keep(self, made_from: Origins, files: Mapping[str, Path]) -> None:
        """Keep copies of local files.

        Parameters
        ----------
        files
            By the name that each is to have.
        """
        digests = {name: sha256_of(path) for name, path in files.items()}
        folder = layout.cached(self.kind, self.day, _digest(digests))
        for name, path in files.items():
            self.storage.put_file(f"{folder}/{name}", path)
        self._append(Kept(made_from, folder, digests))

    def refer(self, made_from: Origins, folder: str, files: Mapping[str, Path]) -> None:
        """Keep files without a copy: they lie in a folder of the lake that is there for something else.

        Parameters
        ----------
        files
            Local files of the same content, by their names in the folder.
        """
        self._append(Kept(made_from, folder, {name: sha256_of(path) for name, path in files.items()}))

    def _append(self, kept: Kept) -> None:
        self.storage.put_new(self.path(kept.made_from), TypeAdapter(Kept).dump_json(kept, indent=1))

    def path(self, made_from: Origins) -> str:
        """Where it says what it knows of it; whether there is such a file tells nothing of its content."""
        return f"{layout.cached(self.kind, self.day, _digest(made_from))}.json"

    def _kept(self, made_from: Origins, open_files: ExitStack) -> tuple[Kept, dict[str, Path]] | None:
        path = self.path(made_from)
        try:
            if kept := self._read(path, made_from):
                return kept, {name: self._file(kept, name, open_files) for name in kept.files}
            return None
        except (_Damaged, PermanentError) as error:
            self._warn(path, error)
        except OSError as error:
            if is_of_this_process(error):
                raise
            self._warn(path, error)
        return None

    def _read(self, path: str, made_from: Origins) -> Kept | None:
        try:
            kept = TypeAdapter(Kept).validate_json(self.storage.read(path), strict=True)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise _Damaged(f"expected what a cache keeps, found {error.errors()[0]['msg']}") from error
        if _digest(kept.made_from) != _digest(made_from):
            raise _Damaged("expected what its name says, found something made from other content")
        return kept

    def _file(self, kept: Kept, name: str, open_files: ExitStack) -> Path:
        path = f"{kept.folder}/{name}"
        try:
            local = open_files.enter_context(self.storage.fetched(path))
            digest = sha256_of(local)
        except FileNotFoundError as error:
            raise _Damaged(f"expected {path}, found no such file") from error
        if digest != kept.files[name]:
            raise _Damaged(f"expected {path} as it was put there, found other bytes")
        return local

    def _warn(self, path: str, error: Exception) -> None:
        log.warning(
            "%s: %s; it is made anew each time until that file and the folder that it names are removed",
            self.storage.uri(path), error,
        )  # fmt: skip


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
