"""The check of one raw file, whatever its format.

It makes a `RawFile`: the raw columns with their families, the number of rows, the digest, and where the
copy for Spark lies. It refuses a file with a column that `spark_jobs/casts.py:rule` cannot cast; the same
rules make our columns afterwards, in `spark_jobs/casts.py:expression`.
"""

import datetime as dt
import logging
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lake import layout
from lake.disk import room_for, sha256_of
from lake.errors import FileFault
from lake.expression_tree import Name
from lake.expressions import columns_of, hint, parse, read_as, uses
from lake.formats.content import ColumnSpec, Content, Targets, Unfit
from lake.formats.format import Format
from lake.stamps import EPOCHS
from lake.storage import Storage
from nightjar.rawfiles import packs
from spark_jobs.casts import rule
from spark_jobs.computed import readable
from spark_jobs.plans import RawFile

log = logging.getLogger(__name__)

_Castable = Callable[[str], object]


@dataclass(frozen=True)
class FileSpec:
    """What a raw file has to be.

    Attributes
    ----------
    targets
        Our columns, each with the name or the expression that makes it and our type.
    whole
        Whether the columns that are not mapped are read too, each by itself.
    may_be_empty
        Whether a file without a row is fine.
    optional
        The mapped columns that it may lack.
    stamps
        The forms of its stamps; none for ISO alone.
    """

    name: str
    day: dt.date
    format: Format[Any]
    targets: Targets
    id_type: str
    whole: bool = False
    may_be_empty: bool = False
    optional: frozenset[str] = frozenset()
    stamps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checker:
    """Checks raw files, and keeps a copy of each that Spark cannot read itself.

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

    def look(self, specs: Sequence[FileSpec]) -> list[RawFile | FileFault]:
        """Check some files of a day: each, or what is wrong with it. Copies of equal columns become one."""
        with tempfile.TemporaryDirectory(prefix="nightjar-") as folder:
            copies = {spec.name: Path(folder, f"{place}.parquet") for place, spec in enumerate(specs)}
            looked = [self._look(spec, copies[spec.name]) for spec in specs]
            sound = [file for file in looked if isinstance(file, RawFile)]
            kept = self._keep([file for file in sound if copies[file.name].exists()], copies)
            return [kept.get(spec.name, file) for spec, file in zip(specs, looked, strict=True)]

    def check(self, spec: FileSpec) -> RawFile:
        """Check one raw file: read all of it, count its rows, and compare its columns with ours.

        Raises
        ------
        FileFault
            When it is missing, empty, damaged or in another encoding, lacks a column, has one that
            cannot be cast without loss, or has no rows; the message names the file, what was
            expected and found, and what to do.
        """
        (looked,) = self.look([spec])
        if isinstance(looked, FileFault):
            raise looked
        return looked

    def _look(self, spec: FileSpec, copy: Path) -> RawFile | FileFault:
        try:
            return self._check(spec, copy)
        except FileNotFoundError:
            gone = Unfit("a file that stays as it is", "one that was removed while it was read")
            return self._fault(gone, spec)
        except Unfit as fault:
            return self._fault(fault, spec)

    def _fault(self, fault: Unfit, spec: FileSpec) -> FileFault:
        return FileFault(f"{self.raw.uri(spec.name)}: {fault}, then run {spec.day} again")

    def _check(self, spec: FileSpec, copy: Path) -> RawFile:
        self._check_name(spec)
        version = self.raw.version(spec.name)
        with self.raw.fetched(spec.name) as path:
            content = _content(path, spec, copy)
            if not content.rows and not spec.may_be_empty:
                raise Unfit("rows", "none", "deliver the day again, or list it in raw.closed_days")
            absent = _absent(content, spec)
            _check_columns(content, spec, absent)
            for warning in content.warnings:
                log.warning("%s: %s", self.raw.uri(spec.name), warning)
            size, digest = path.stat().st_size, sha256_of(path)
            self._require_unchanged(version, spec)
        if not content.copied:
            copy.unlink(missing_ok=True)
        return RawFile(
            spec.name, spec.day, content.rows, size, digest, version, content.columns, absent=tuple(absent)
        )

    def _require_unchanged(self, version: str, spec: FileSpec) -> None:
        """Refuse a file that changed: its digest may be of other bytes than those that were read."""
        if self.raw.version(spec.name) != version:
            action = "deliver it under another name and move it here when it is whole"
            raise Unfit("a file that stays as it is", "one that changed while it was read", action)

    def _check_name(self, spec: FileSpec) -> None:
        if PurePosixPath(spec.name).name.startswith(("_", ".")):
            raise Unfit("a name that Spark reads", "a leading _ or .", "rename it and raw.files")
        name = spec.format.NAME
        expected = f"{'an' if name[0] in 'ao' else 'a'} {name} file"
        if not self.raw.exists(spec.name):
            parts = len(self.raw.list(spec.name))
            actual = f"a folder of {parts} files" if parts else "no file"
            several = "deliver it as one file, or end raw.files in /*"
            raise Unfit(expected, actual, several if parts else "deliver it")
        if spec.format.has_head and not self.raw.size(spec.name):
            raise Unfit(expected, "0 bytes")

    def _keep(self, files: Sequence[RawFile], copies: Mapping[str, Path]) -> dict[str, RawFile]:
        """Put the copies of files into the lake, those of equal columns as one."""
        import pyarrow.parquet as pq

        alike: dict[Any, list[RawFile]] = defaultdict(list)
        for file in files:
            alike[file.columns, pq.read_schema(copies[file.name])].append(file)
        kept: dict[str, RawFile] = {}
        for group in alike.values():
            first = group[0].name
            copy, path = copies[first], layout.copied(self.attempt, first)
            if len(group) > 1:
                copy = copy.with_suffix(".pack")
                packs.write([(file.name, copies[file.name]) for file in group], copy)
            self.lake.put_file(path, copy)
            kept |= {file.name: replace(file, copy=path) for file in group}
        return kept


def _content(path: Path, spec: FileSpec, copy: Path) -> Content:
    """Read what a file holds."""
    import pyarrow as pa

    try:
        with room_for(copy):
            return spec.format.read(path, ColumnSpec(spec.targets, spec.whole), copy)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        actual = f"{path.stat().st_size} bytes that cannot be read ({reason})"
        raise Unfit(f"a whole {spec.format.NAME} file", actual) from error


def _absent(content: Content, spec: FileSpec) -> list[str]:
    """The mapped columns that a file lacks; lines of JSON name none where there is no row."""
    mapped = dict.fromkeys(column for text, _ in spec.targets.values() for column in columns_of(text))
    return [name for name in mapped if name not in content.kinds] if content.rows or content.kinds else []


def _check_columns(content: Content, spec: FileSpec, absent: Collection[str]) -> None:
    if missing := [name for name in absent if name not in spec.optional]:
        actual = f"{', '.join(content.kinds) or 'none'} (without {', '.join(missing)})"
        action = f"deliver it with them, or map them in the data set's TOML{spec.format.HINT}{hint(missing)}"
        needed = sorted(ColumnSpec(spec.targets).mapped - spec.optional)
        raise Unfit(f"the columns {', '.join(needed)}", actual, action)
    for text, target in spec.targets.values():
        _check_target(text, target, content, spec)


def _check_target(text: str, target: str, content: Content, spec: FileSpec) -> None:
    """Refuse a file with a column of which one of ours cannot be made without loss."""
    tree = parse(text)
    if isinstance(tree, Name):
        kind = spec.id_type if target == "id" else target
        castable = partial(rule, target, id_type=spec.id_type)
        by_form = partial(castable, stamps=[*EPOCHS])
        _check_column(tree.column, kind, partial(castable, stamps=spec.stamps), content, by_form)
        return
    for name, read in uses(tree, read_as(target)):
        _check_column(name, f"a {read} (in {text})", partial(readable, wanted=read), content)


def _check_column(
    name: str, kind: str, castable: _Castable, content: Content, by_form: _Castable = lambda family: None
) -> None:
    column = next((column for column in content.columns if column.name == name), None)
    if column is None or name not in content.kinds:
        return
    if name in content.repeated:
        raise Unfit(f"one column {name}", "more than one", "deliver it with names of their own")
    if not castable(column.family):
        expected = f"column {name} castable to {kind} without loss"
        form = f", or let raw.stamps name the form of such numbers, as {', '.join(EPOCHS)}"
        action = f"deliver it with such a type{form if by_form(column.family) else ''}"
        raise Unfit(expected, f"{content.kinds[name]} values", action)
