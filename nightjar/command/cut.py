"""Cuts files that span many days into the file of each day that a night takes in.

Each row stays as it stands in its file, in the order of the files. Its day is that of its stamp, by the rules
of the ingest. A row without a readable stamp lies with the row before it, where its night sets it aside.
"""

import datetime as dt
import logging
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake import day_files, layout, messages
from lake.dataset import Dataset
from lake.disk import room_for
from lake.errors import ConfigError, FileFault, PermanentError
from lake.formats import format_of
from lake.formats.content import Unfit
from lake.formats.format import Format
from lake.lake import Lake
from lake.partitions import days as days_between
from lake.schemas import LANDED, ROW_NUMBER, SOURCE_FILE
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.console import console
from nightjar.rawfiles.check import Checker, FileSpec
from nightjar.stages.ingest import Ingest
from spark_jobs.casts import raw_targets
from spark_jobs.plans import ExtractPlan, RawFile
from spark_jobs.submit import submit

log = logging.getLogger(__name__)

Dates = npt.NDArray[np.datetime64]

_HELD: Final = 1 << 26  # letters of rows in memory, before they are written
_SHOWN: Final = 20  # days without rows that a line of the TOML may hold


@dataclass
class Cut:
    """What was cut.

    Attributes
    ----------
    rows
        Of each day.
    unread
        How many rows have no readable stamp.
    """

    rows: Counter[dt.date] = field(default_factory=Counter)
    unread: int = 0

    def without_rows(self, data: Dataset) -> list[dt.date]:
        """The days between that have no rows, though they are not closed."""
        between = days_between(min(self.rows), max(self.rows))
        return [day for day in between if day not in self.rows and not data.raw.is_closed(day)]


def cut(sources: Sequence[Path], settings: Settings) -> Cut:
    """Cut files, and put the file of each day where `raw.files` says.

    Raises
    ------
    ConfigError
        When a day of the data set is a set of files.
    FileFault
        When a file cannot be cut.
    PermanentError
        When the file of a day is there already; nothing is written then.
    """
    lake, done = Lake.open(settings), Cut()
    form = _format(lake.data)
    with tempfile.TemporaryDirectory(prefix="nightjar-") as folder:
        written = _DayFiles(Path(folder), lake.data.raw.csv.encoding)
        texts = {source: _texts(source, form, written) for source in sources}
        for source, days in _days(list(texts), form, lake, settings).items():
            done.unread += int(np.isnat(days).sum())
            for day, text in zip(_filled(days, lake.data.first_day), texts[source], strict=True):
                done.rows[day] += 1
                written.add(day, text)
        written.flush()
        _put(written, lake)
    return done


def show(done: Cut, data: Dataset, calendar: Path | None = None) -> None:
    """Print which days there are, and what to write into the TOML.

    Parameters
    ----------
    calendar
        Where the days without rows go, for `raw.closed_calendar`.
    """
    first, last = min(done.rows), max(done.rows)
    console.print(f"{done.rows.total():,} rows of {len(done.rows):,} days, {first} to {last}")
    if first < data.first_day:
        console.print(f"first_day is {data.first_day}: what is before it counts nowhere")
    if done.unread:
        console.print(f"{done.unread:,} rows without a readable stamp lie with the row before them")
    if missing := done.without_rows(data):
        console.print(f"{len(missing):,} days between have no rows: {_closed(missing, calendar)}")


def _closed(days: Sequence[dt.date], calendar: Path | None) -> str:
    """What to do about days without rows."""
    if calendar:
        calendar.write_text("".join(f"{day}\n" for day in days), encoding="utf-8")
        return f"{calendar} has them, for raw.closed_calendar"
    if len(days) > _SHOWN:
        return f"{days[0]}, {days[1]}, ...; remove what was cut, and cut it again with --calendar FILE"
    return f"as raw.closed_days: [{', '.join(map(str, days))}]"


def _format(data: Dataset) -> Format[Any]:
    if day_files.is_set(data.raw.files):
        raise ConfigError(
            f"raw.files: expected one file a day for what is cut, such as events/{{partition}}.csv, "
            f"found {data.raw.files!r}"
        )
    return format_of(data.raw)


def _texts(source: Path, form: Format[Any], written: "_DayFiles") -> Iterator[str]:
    """The rows of a file, whose head is that of all."""
    if not source.is_file():
        raise FileFault(f"{source}: expected a file, found none there")
    try:
        texts = form.texts(source)
        written.begin(next(texts, "") if form.has_head else "")
    except Unfit as fault:
        raise FileFault(f"{source}: {fault}, then cut it again") from fault
    return texts


def _days(sources: Sequence[Path], form: Format[Any], lake: Lake, settings: Settings) -> dict[Path, Dates]:
    """The day of each row of each file; NaT where its stamp cannot be read."""
    raw, pins = open_storage(Path("/").as_uri()), Ingest().pins(lake, [lake.data.first_day])
    names = [str(source.absolute().relative_to("/")) for source in sources]
    attempt = pins["attempt"]
    try:
        files = _checked(names, form, lake, Checker(raw, lake.storage, attempt))
        plan = ExtractPlan(**pins, lake=lake.uri, raw_root=raw.root, files=tuple(files), catalogues=())
        messages.write(lake.storage, layout.plan(attempt), plan)
        submit("cut", attempt, settings)
        rows = _read_days(lake, attempt)
    finally:
        lake.storage.remove(layout.attempt(attempt))
    each = (rows.filter(pc.field(SOURCE_FILE) == name).sort_by(ROW_NUMBER) for name in names)
    days = (np.asarray(own[LANDED], "datetime64[D]") for own in each)
    return dict(zip(sources, days, strict=True))


def _checked(names: Sequence[str], form: Format[Any], lake: Lake, checker: Checker) -> list[RawFile]:
    raw, id_type = lake.data.raw, lake.data.id_type
    spec = FileSpec("", lake.data.first_day, form, raw_targets(raw), id_type, optional=raw.optional)
    looked = checker.look([replace(spec, name=name) for name in names])
    for one in looked:
        if isinstance(one, FileFault):
            raise FileFault(str(one).replace(f"run {spec.day} again", "cut it again"))
    return [one for one in looked if isinstance(one, RawFile)]


def _read_days(lake: Lake, attempt: str) -> pa.Table:
    tables = []
    for name in lake.storage.list(layout.days_of_rows(attempt)):
        if name.endswith(".parquet"):
            with lake.storage.fetched(name) as path:
                tables.append(pq.read_table(path))
    return pa.concat_tables(tables)


def _filled(days: Dates, first: dt.date) -> Iterator[dt.date]:
    """The days, each missing one as that before it."""
    last = first
    for day in days.tolist():
        last = day or last
        yield last


class _DayFiles:
    """The files of days in a folder, each with the head; rows are held until they fill the memory.

    Attributes
    ----------
    days
        Those that have a file.
    """

    def __init__(self, folder: Path, encoding: str) -> None:
        self._folder, self._encoding = folder, encoding
        self._held: dict[dt.date, list[str]] = defaultdict(list)
        self._size = 0
        self._head: str | None = None
        self.days: set[dt.date] = set()

    def path(self, day: dt.date) -> Path:
        """The file of a day."""
        return self._folder / str(day)

    def begin(self, head: str) -> None:
        """Begin a file to cut, whose head has to be that of the files before it."""
        if self._head not in (None, _ended(head)):
            raise Unfit(f"the head of the file before it, {self._head!r}", repr(_ended(head)), "cut it alone")
        self._head = _ended(head)

    def add(self, day: dt.date, text: str) -> None:
        """Add a row."""
        if day not in self.days:
            self.days.add(day)
            self._held[day].append(self._head or "")
        self._held[day].append(_ended(text))
        self._size += len(text)
        if self._size > _HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        for day, texts in self._held.items():
            path = self.path(day)
            with room_for(path), path.open("a", encoding=self._encoding, newline="") as file:
                file.writelines(texts)
        self._held.clear()
        self._size = 0


def _ended(text: str) -> str:
    """A text with a line end, which the last of a file may lack."""
    return text if not text or text.endswith("\n") else f"{text}\n"


def _put(written: _DayFiles, lake: Lake) -> None:
    """Put the files, where none of them is there yet."""
    paths = {day: lake.data.raw.path(day) for day in sorted(written.days)}
    for path in paths.values():
        if lake.raw.exists(path):
            raise PermanentError(
                f"{lake.raw.uri(path)}: expected no file of that day, found one; remove what was cut before, "
                "then cut all files of these days at once"
            )
    for day, path in paths.items():
        lake.raw.put_file(path, written.path(day))
    log.info("%d files below %s", len(paths), lake.raw.root)
