"""The plans and results of Spark jobs, and the plan of lists, which may be one; importable without Spark."""

import datetime as dt
from dataclasses import dataclass, field

from lake import feature_states
from lake.caches import Origins
from lake.feature_states import StateFiles
from lake.formats.content import RawColumn
from lake.names import TableName
from lake.plan import BLOCK_MIB, Plan
from lake.records import BUNDLE, Record, Records, TableContent
from validation.profile import Profile


@dataclass(frozen=True)
class RawFile:
    """A raw file that passed the file checks.

    Attributes
    ----------
    name
        Relative to `NIGHTJAR_RAW`.
    day
        The partition that it belongs to.
    rows
        Their number by the footer of a Parquet file, else counted by the file check.
    bytes, sha256
        Of the whole file.
    version
        The storage's version of the file when it was checked.
    columns
        Its columns, in the order of the copy's fields where there is one.
    copy
        The path in the lake of the copy that Spark reads instead; empty where it reads the file.
    absent
        The mapped columns that it lacks.
    """

    name: str
    day: dt.date
    rows: int
    bytes: int
    sha256: str
    version: str
    columns: tuple[RawColumn, ...]
    copy: str = ""
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExtractPlan(Plan):
    """What one extract has to do: a partition is a day whose raw files are sound.

    Attributes
    ----------
    lake, raw_root
        URIs of the lake and of the raw files.
    files, catalogues
        The raw files of those days; a closed day has none.
    faults
        What is wrong with the raw files of each day that was asked for and left out.
    row_settings
        The digest of the settings that decide what becomes of a row.
    most
        How many rows of each file are read; all without it. Only a sample is bounded.
    any_day
        Whether rows may be of any day, as those of a sample are that belongs to none.
    before
        The events files of earlier days, among whose rows copies are sought too.
    """

    lake: str
    raw_root: str
    files: tuple[RawFile, ...]
    catalogues: tuple[RawFile, ...]
    faults: dict[dt.date, str] = field(default_factory=dict)
    row_settings: str = ""
    most: int | None = None
    any_day: bool = False
    before: tuple[RawFile, ...] = ()

    @property
    def all_files(self) -> tuple[RawFile, ...]:
        """Every raw file that is read."""
        return (*self.files, *self.catalogues, *self.before)

    @property
    def rows(self) -> int:
        """How many rows these files have."""
        return sum(file.rows for file in self.all_files)

    def searched(self, day: dt.date) -> list[RawFile]:
        """The events files before a day among whose rows copies of the day's are sought."""
        first = day - self.config.raw.reach
        return [file for file in (*self.before, *self.files) if first <= file.day < day]


@dataclass(frozen=True)
class ExtractResult:
    """What one extract has made.

    Attributes
    ----------
    tables
        Per table and day its files and digest.
    counts
        Per day.
    hours
        Per day the rows by the hour of their stamp, counted from the day's beginning; -24 and 48
        stand for all before and after.
    samples
        Per day and reason a sentence about the first such row.
    faults
        What is wrong with the raw files of each day that was left out because Spark could not read one.
    profiles
        Of every day that has a clean row.
    """

    tables: dict[str, dict[dt.date, TableContent]]
    counts: dict[dt.date, dict[str, int]]
    hours: dict[dt.date, dict[int, int]] = field(default_factory=dict)
    samples: dict[dt.date, dict[str, str]] = field(default_factory=dict)
    faults: dict[dt.date, str] = field(default_factory=dict)
    profiles: dict[dt.date, Profile] = field(default_factory=dict)


@dataclass(frozen=True)
class CutResult:
    """Of how many rows the days were written."""

    rows: int


@dataclass(frozen=True, kw_only=True)
class SamplePlan(ExtractPlan):
    """What one look at a sample has to do: files of one day, of which some rows are judged.

    Attributes
    ----------
    shown
        How many clean rows of each kind it shows.
    """

    shown: int = 0


@dataclass(frozen=True)
class MappedRow:
    """A clean row of a sample beside what it was.

    Attributes
    ----------
    table
        The table that it would go to.
    file, number, raw
        Its place, and itself as JSON.
    ours
        The value of each of our columns as text.
    """

    table: str
    file: str
    number: int
    raw: str
    ours: dict[str, str | None]


@dataclass(frozen=True)
class SampleResult(ExtractResult):
    """What an extract makes of a sample, and what more there is to see of it.

    Attributes
    ----------
    rows
        The first clean rows.
    days
        The rows of events by the day of their stamp.
    """

    rows: tuple[MappedRow, ...] = ()
    days: dict[dt.date, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FeaturesPlan(Plan):
    """What one build of feature tables has to do: a partition is an as-of day.

    Attributes
    ----------
    lake
        The URI of the lake.
    interactions
        The files of the interactions that the as-of days may see, by the day on which they landed.
    rows
        How many rows these files have.
    state
        What the first as-of day begins with; None for nothing, and all interactions.
    kept
        The as-of days whose state is kept for later nights.
    catalogues
        For each as-of day the files of the newest catalogue delivered by then; none without one.
    missing_days
        The days of the data set up to the newest as-of day that were never taken in.
    """

    lake: str
    interactions: dict[dt.date, tuple[str, ...]]
    rows: int
    catalogues: dict[dt.date, tuple[str, ...]]
    missing_days: tuple[dt.date, ...] = ()
    state: StateFiles | None = None
    kept: tuple[dt.date, ...] = ()

    def origins(self, as_of: dt.date) -> Origins:
        """What the state of a day is made from."""
        return feature_states.origins(self.version, self.config_digest, self.inputs, as_of)


@dataclass(frozen=True, kw_only=True)
class AlsPlan(Plan):
    """One fit of ALS, for a training; users and items are rows and columns of the confidence matrix.

    Attributes
    ----------
    lake
        The URI of the lake.
    confidence
        The path in the lake of the matrix: Parquet with ``user`` and ``item`` (int32) and
        ``confidence`` (float32, above 0).
    pairs
        How many rows it has.
    regularization
        Of a user or an item, for each pair that it has.
    """

    lake: str
    confidence: str
    pairs: int
    regularization: float


@dataclass(frozen=True)
class AlsResult:
    """The files of factors in the lake: Parquet with ``id`` (int32) and ``features`` (list of float32)."""

    users: tuple[str, ...]
    items: tuple[str, ...]


@dataclass(frozen=True)
class FeaturesResult:
    """What one build of feature tables has made.

    Attributes
    ----------
    tables
        Per table and as-of day its files and digest.
    dropped
        Per as-of day how many pairs and users `history_days` left out, by the table that lacks them;
        empty without that setting.
    """

    tables: dict[str, dict[dt.date, TableContent]]
    dropped: dict[dt.date, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PrecomputePlan(Plan):
    """Which lists to make; its partition is the as-of day.

    Attributes
    ----------
    lake
        The URI of the lake.
    threads, block_mib
        Change nothing in the result.
    """

    lake: str
    threads: int = 1
    block_mib: int = BLOCK_MIB

    def features(self, records: Records) -> Record:
        """The features record that is pinned."""
        return records.pinned(self.inputs_of(TableName.USERS)[0])

    def decision(self, records: Records) -> Record | None:
        """The decision that the lists follow; None where there is none."""
        pins = self.inputs_of(BUNDLE)
        return records.pinned(pins[0]) if pins else None
