"""Records: a stage is finished for a partition when, and only when, its record exists.

A record names the files that a stage made, their content digests, and the digests of what it
read. Each is one create-only file, ``records/<stage>/<partition>/<sequence>.json``; the highest
sequence is current. Every read takes exactly the files that records name.
"""

import datetime as dt
import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from pydantic import TypeAdapter

from lake import layout
from lake.errors import Conflict, PermanentError
from lake.ledger import Ledger, damaged, names_in
from lake.names import StageName
from lake.partitions import stamp
from lake.record_fields import checked
from lake.schemas import TABLES
from lake.storage import Storage
from nightjar_reader.errors import FormatError
from nightjar_reader.fields import is_day
from nightjar_reader.sequences import file_name, pass_over, sequences

log = logging.getLogger(__name__)

BUNDLE: Final = "bundle"
"""The name of an input that is a decision, for the bundle that it names."""


@dataclass(frozen=True)
class TableFile:
    """A data file: its path in the lake, bytes and rows."""

    path: str
    bytes: int
    rows: int


@dataclass(frozen=True)
class TableContent:
    """A partition of a table: its files, and a digest that no order of rows or cut of files changes."""

    files: tuple[TableFile, ...]
    rows: int
    digest: str


@dataclass(frozen=True)
class Input:
    """Something that a stage read.

    Attributes
    ----------
    name
        The table; for raw files the path relative to `NIGHTJAR_RAW`.
    digest
        The content digest; for raw files the sha256 of their bytes.
    partition, sequence
        The record that named it; empty and 0 for raw files.
    bytes
        Length of a raw file, else 0.
    """

    name: str
    digest: str
    partition: str = ""
    sequence: int = 0
    bytes: int = 0

    @property
    def day(self) -> dt.date:
        """The partition as a date."""
        return dt.date.fromisoformat(self.partition)


@dataclass(frozen=True)
class Draft:
    """A record before it has a sequence and a stamp.

    Attributes
    ----------
    details
        What else the stage has to say, as JSON values; part of the content.
    """

    stage: str
    partition: str
    attempt: str
    outcome: str
    version: int
    config_digest: str
    inputs: tuple[Input, ...] = ()
    tables: Mapping[str, TableContent] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of version, configuration digest and the inputs' digests."""
        return fingerprint(self.version, self.config_digest, self.inputs)

    @property
    def content(self) -> str:
        """SHA-256 of what came out: outcome, digests of the tables, counts and details."""
        digests = {name: table.digest for name, table in self.tables.items()}
        return _digest([self.outcome, digests, dict(self.counts), dict(self.details)])


@dataclass(frozen=True)
class Record(Draft):
    """A committed `Draft`."""

    sequence: int = 0
    written_at: str = ""

    @property
    def day(self) -> dt.date:
        """The partition as a date."""
        return dt.date.fromisoformat(self.partition)

    def require(self, detail: str) -> Any:
        """One of the details.

        Raises
        ------
        PermanentError
            When the record lacks it.
        """
        if self.details.get(detail) is None:
            raise PermanentError(
                f"{self.stage} record {self.sequence} of {self.partition}: expected details.{detail}, found "
                f"none. The file was changed or is damaged; restore it from a copy, or run {self.stage} again"
            )
        return self.details[detail]

    def inputs_of(self, table: str) -> list[Input]:
        """The inputs that are partitions of one table, oldest first."""
        return inputs_of(self.inputs, table)

    def as_input(self, table: str) -> Input:
        """One of its tables, as an input of a stage that reads it."""
        return Input(table, self.tables[table].digest, self.partition, self.sequence)


_RECORD: Final = TypeAdapter(Record)


def inputs_of(inputs: Iterable[Input], table: str) -> list[Input]:
    """The inputs that are partitions of one table, oldest first."""
    return sorted((i for i in inputs if i.name == table), key=lambda i: i.partition)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def fingerprint(version: int, config_digest: str, inputs: Iterable[Input]) -> str:
    """SHA-256 (hex) of version, configuration digest and inputs, whatever their order and sequences."""
    return _digest([version, config_digest, sorted([i.name, i.partition, i.digest] for i in inputs)])


class Records:
    """The records and night marks of one lake."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._opened: dict[tuple[str, str, int], Record] = {}

    def _ledger(self, stage: str, partition: str) -> Ledger:
        return Ledger(self._storage, layout.records(stage, dt.date.fromisoformat(partition)))

    def at(self, stage: str, partition: str, sequence: int) -> Record:
        """One record, read once; `FileNotFoundError` where there is none."""
        key = stage, partition, sequence
        if key not in self._opened:
            self._opened[key] = self._read(*key)
        return self._opened[key]

    def _read(self, stage: str, partition: str, sequence: int) -> Record:
        ledger = self._ledger(stage, partition)
        try:
            return _decode(checked(ledger.read(sequence), stage, partition, sequence))
        except FormatError as error:
            raise damaged(ledger.uri(sequence), error) from error

    def pinned(self, source: Input) -> Record:
        """The record that an input names."""
        stage = StageName.TRAIN if source.name == BUNDLE else TABLES[source.name].stage
        return self.at(stage, source.partition, source.sequence)

    def latest(self, stage: str, day: dt.date) -> int:
        """The current sequence of a partition, 0 where it has no record."""
        return self._ledger(stage, day.isoformat()).latest()

    def current(self, stage: str, day: dt.date) -> Record | None:
        """The current record of a partition."""
        sequence = self.latest(stage, day)
        return self.at(stage, day.isoformat(), sequence) if sequence else None

    def history(self, stage: str, day: dt.date) -> Iterator[Record]:
        """All records of a partition, newest first; each is read only when the caller comes to it."""
        for number in reversed(self._ledger(stage, day.isoformat()).sequences()):
            yield self.at(stage, day.isoformat(), number)

    def partitions(self, stage: str) -> dict[dt.date, int]:
        """All partitions with a record and their current sequences, in order of days, by a single listing."""
        names = self._by_day(f"{layout.RECORDS}/{stage}")
        newest = {day: self._ledger(stage, day).latest_of(names[day]) for day in sorted(names)}
        return {dt.date.fromisoformat(day): sequence for day, sequence in newest.items() if sequence}

    def _by_day(self, folder: str) -> dict[str, list[str]]:
        """The files below a folder that has a folder for each day, by day and their paths in it."""
        names: dict[str, list[str]] = defaultdict(list)
        for path in names_in(self._storage, folder):
            day, _, name = path.partition("/")
            if is_day(day):
                names[day].append(name)
            else:
                pass_over(self._storage.uri(f"{folder}/{path}"), f"{folder}/YYYY-MM-DD/")
        return names

    def all_current(self, stage: str, last: dt.date) -> list[Record]:
        """The current records of all partitions up to `last`, in order of days."""
        return [
            self.at(stage, day.isoformat(), n) for day, n in self.partitions(stage).items() if day <= last
        ]

    def commit(self, draft: Draft, based_on: int) -> Record:
        """Make an attempt's work the current one of its partition.

        Parameters
        ----------
        draft
            What the attempt made.
        based_on
            The sequence that was current when the work began.

        Returns
        -------
        Record
            The current record: a new one or, where the same work is committed already, the one
            that committed it.

        Raises
        ------
        Conflict
            When another run committed something else meanwhile.
        """
        before = self.at(draft.stage, draft.partition, based_on) if based_on else None
        if before and _same(before, draft) and self.latest(draft.stage, before.day) == based_on:
            return before
        if before and before.content == draft.content:
            draft = replace(draft, tables=before.tables, attempt=before.attempt)
        record = Record(**vars(draft), sequence=based_on + 1, written_at=stamp())
        entry = asdict(record) | {"fingerprint": record.fingerprint}
        if self._ledger(draft.stage, draft.partition).append(record.sequence, entry):
            log.debug("committed %s of %s as record %d", record.stage, record.partition, record.sequence)
            return record
        return self._accept_taken(record)

    def _accept_taken(self, record: Record) -> Record:
        taken = self.at(record.stage, record.partition, record.sequence)
        if _same(taken, record):
            return taken
        raise Conflict(
            f"{record.stage} of {record.partition}: another run committed record {record.sequence} "
            "with other content while this one worked; clear from the first task to run again"
        )

    def open_night(self, day: dt.date) -> int:
        """Mark that a night of `day` has begun; returns the mark's number."""
        number = self.newest_night(day) + 1
        while not self._storage.put_new(layout.night_mark(day, number), stamp().encode()):
            number += 1
        return number

    def newest_night(self, day: dt.date) -> int:
        """The number of the newest night of `day`, 0 where none has begun."""
        folder = layout.night(day)
        return self._newest_mark(names_in(self._storage, folder), folder)

    def _newest_mark(self, names: list[str], folder: str) -> int:
        return max(sequences(names, self._storage.uri(folder), ending="", beside=layout.DECIDED), default=0)

    def undecided(self) -> list[dt.date]:
        """The days whose newest night has begun and is not decided, by a single listing."""
        found = []
        for day, names in sorted(self._by_day(layout.NIGHTS).items()):
            begun = self._newest_mark(names, layout.night(dt.date.fromisoformat(day)))
            if begun and file_name(begun, layout.DECIDED) not in names:
                found.append(dt.date.fromisoformat(day))
        return found

    def mark_decided(self, day: dt.date, number: int) -> None:
        """Mark that the decision of that night is made, or never will be."""
        self._storage.put_new(layout.night_mark(day, number, layout.DECIDED), stamp().encode())

    def is_decided(self, day: dt.date, number: int) -> bool:
        """Whether `mark_decided` was called for that night."""
        return self._storage.exists(layout.night_mark(day, number, layout.DECIDED))


def _same(left: Draft, right: Draft) -> bool:
    return left.fingerprint == right.fingerprint and left.content == right.content


def _decode(fields: Mapping[str, Any]) -> Record:
    record = _RECORD.validate_python(fields)
    if record.fingerprint != fields["fingerprint"]:
        raise FormatError(f"fingerprint {fields['fingerprint']}, but its content gives {record.fingerprint}")
    return record
