"""Rows of the lists of one release, read by key."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from nightjar_reader_v1 import format as fmt
from nightjar_reader_v1.answers import Id
from nightjar_reader_v1.keyed import KeyedFile
from nightjar_reader_v1.once import Once
from nightjar_reader_v1.verified import CopyChanged, VerifiedFiles, retry_changed

T = TypeVar("T")

_OPEN_FILES = 128  # all files of users and of items, of a release of 64 buckets


@dataclass(frozen=True, slots=True)
class Row:
    """What a release holds for one user or item."""

    items: tuple[Id, ...]
    scores: tuple[float, ...]
    fallback: int
    code: int | None

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Row":
        """A row of a Parquet file."""
        items, scores = tuple(row[fmt.ITEM_IDS]), tuple(row[fmt.SCORES])
        return cls(items, scores, row.get(fmt.FALLBACK, fmt.FALLBACK_PERSONAL), row.get(fmt.CODE))


class Rows:
    """The files of users and of items, opened when one of their rows is first read.

    Parameters
    ----------
    files
        Those of the release, verified.
    """

    def __init__(self, files: VerifiedFiles) -> None:
        self._files = files
        # A child opens files anew: its parent may have been reading from them at the fork.
        self._opened: Once[KeyedFile] = Once(_OPEN_FILES, kept_by_children=False)

    def read(self, file: str, key: Id) -> Row | None:
        """The row of a key; None if there is no such row or file."""
        if not self._files.has(file):
            return None

        def row(keyed: KeyedFile) -> Row | None:
            return Row.of(values) if (values := keyed.row(key)) else None

        return self.ask(file, row)

    def ask(self, file: str, question: Callable[[KeyedFile], T]) -> T:
        """What the open file answers; a copy that has changed is fetched again first."""
        return retry_changed(partial(self._ask, file, question))

    def _ask(self, file: str, question: Callable[[KeyedFile], T]) -> T:
        keyed = self.keyed(file)
        try:
            with self._files.as_format_says(file, keyed.source):
                return question(keyed)
        except CopyChanged:
            self._opened.drop(file, keyed)
            raise

    def keyed(self, file: str) -> KeyedFile:
        """The open file."""
        return self._opened.get(file, partial(self._open, file))

    def _open(self, file: str) -> KeyedFile:
        columns = fmt.LISTS_COLUMNS if file.startswith(fmt.LISTS) else fmt.SIMILAR_COLUMNS
        source = self._files.open(file)
        with self._files.as_format_says(file, source):
            return KeyedFile(source, columns, partial(self._files.reading, file, source))
