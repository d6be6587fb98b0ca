"""The check of one raw file, whatever its format."""

import datetime as dt
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from lake import layout
from lake.errors import FileFault
from lake.raw_sections import FileFormat
from lake.storage import Storage, room_for, sha256_of
from nightjar.rawfiles import csvfile, jsonlines, parquet
from nightjar.rawfiles.content import Asked, Content, Unfit
from spark_jobs.casts import Targets, rule
from spark_jobs.plans import RawColumn, RawFile

log = logging.getLogger(__name__)

_READERS: Final[dict[str, Callable[[Path, Asked, Path], Content]]] = {
    "parquet": parquet.read,
    "csv": csvfile.read,
    "jsonl": jsonlines.read,
}

_WITH_A_HEAD: Final = {"parquet", "csv"}
"""Formats in which a file without rows is not empty."""


@dataclass(frozen=True)
class Wanted:
    """What a raw file has to be.

    Attributes
    ----------
    targets
        Our columns, each with the raw column that holds it and our type.
    whole
        Whether the columns beyond these are wanted too, one by one.
    may_be_empty
        Whether a file without a row is fine.
    """

    name: str
    day: dt.date
    format: FileFormat
    targets: Targets
    id_type: str
    whole: bool = False
    may_be_empty: bool = False


@dataclass(frozen=True)
class Checker:
    """Checks raw files, and keeps the copies of those that Spark does not read itself.

    Attributes
    ----------
    raw, lake
        Where the files are, and where copies go.
    attempt
        The attempt that the copies belong to.
    """

    raw: Storage
    lake: Storage
    attempt: str

    def check(self, wanted: Wanted) -> RawFile:
        """Check one raw file: read all of it, count its rows, and compare its columns with ours.

        Raises
        ------
        FileFault
            When it is missing, empty, damaged or in another encoding, lacks a column, has one that
            cannot be cast without loss, or has no rows; the message names the file, what was
            expected and found, and what to do.
        """
        try:
            return self._check(wanted)
        except FileNotFoundError as error:
            gone = Unfit("a file that stays as it is", "one that was removed while it was read")
            raise self._fault(gone, wanted) from error
        except Unfit as fault:
            raise self._fault(fault, wanted) from fault

    def _fault(self, fault: Unfit, wanted: Wanted) -> FileFault:
        return FileFault(f"{self.raw.uri(wanted.name)}: {fault}, then run {wanted.day} again")

    def _check(self, wanted: Wanted) -> RawFile:
        self._check_name(wanted)
        version = self.raw.version(wanted.name)
        with self.raw.fetched(wanted.name) as path, tempfile.TemporaryDirectory(prefix="nightjar-") as folder:
            copy = Path(folder, "copy.parquet")
            content = _content(path, wanted, copy)
            if not content.rows and not wanted.may_be_empty:
                raise Unfit("rows", "none", "deliver the day again, or list it in raw.closed_days")
            _check_columns(content, wanted)
            for warning in content.warnings:
                log.warning("%s: %s", self.raw.uri(wanted.name), warning)
            size, digest = path.stat().st_size, sha256_of(path)
            self._require(version, wanted)
            place = self._keep(copy, wanted) if content.copied else ""
        columns = content.columns
        return RawFile(wanted.name, wanted.day, content.rows, size, digest, version, columns, place)

    def _require(self, version: str, wanted: Wanted) -> None:
        """Refuse a file that somebody writes to: what was read of it and its digest may be two things."""
        if self.raw.version(wanted.name) != version:
            action = "deliver it under another name and move it here when it is whole"
            raise Unfit("a file that stays as it is", "one that changed while it was read", action)

    def _check_name(self, wanted: Wanted) -> None:
        if PurePosixPath(wanted.name).name.startswith(("_", ".")):
            raise Unfit("a name that Spark reads", "a leading _ or .", "rename it and raw.files")
        if not self.raw.exists(wanted.name):
            parts = len(self.raw.list(wanted.name))
            found = f"a folder of {parts} files" if parts else "no file"
            raise Unfit(f"a {wanted.format} file", found, "deliver it as one file" if parts else "deliver it")
        if wanted.format in _WITH_A_HEAD and not self.raw.size(wanted.name):
            raise Unfit(f"a {wanted.format} file", "0 bytes")

    def _keep(self, copy: Path, wanted: Wanted) -> str:
        place = layout.copied(self.attempt, wanted.name)
        self.lake.put_file(place, copy)
        return place


def _content(path: Path, wanted: Wanted, copy: Path) -> Content:
    """What a file holds."""
    import pyarrow as pa

    try:
        with room_for(copy):
            return _READERS[wanted.format](path, Asked(wanted.targets, wanted.whole), copy)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        found = f"{path.stat().st_size} bytes that cannot be read ({reason})"
        raise Unfit(f"a whole {wanted.format} file", found) from error


def _check_columns(content: Content, wanted: Wanted) -> None:
    asked = dict.fromkeys(column for column, _ in wanted.targets.values())
    columns = {column.name: column for column in content.columns}
    missing = [name for name in asked if name not in columns]
    if missing:
        told = f"{', '.join(content.kinds) or 'none'} (without {', '.join(missing)})"
        action = "deliver it with them, or map them in the data set's TOML"
        raise Unfit(f"the columns {', '.join(sorted(asked))}", told, action)
    for name, target in wanted.targets.values():
        _check_column(columns[name], target, content, wanted.id_type)


def _check_column(column: RawColumn, target: str, content: Content, id_type: str) -> None:
    name = column.name
    if name in content.repeated:
        raise Unfit(f"one column {name}", "more than one", "deliver it with names of their own")
    if rule(target, column.family, id_type) is None:
        expected = f"column {name} castable to {id_type if target == 'id' else target} without loss"
        raise Unfit(expected, f"{content.kinds[name]} values", "deliver it with such a type")
