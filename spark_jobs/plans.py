"""What is asked of the jobs and what they answer; importable without Spark."""

import datetime as dt
from dataclasses import dataclass, field

from lake.raw_sections import Catalogue, Events, Raw, Rules
from lake.records import TableContent
from validation.profile import Profile


@dataclass(frozen=True)
class RawColumn:
    """A column of a raw file.

    Attributes
    ----------
    name
        As the file has it; a name's second column has a number behind it.
    family
        What its values are (`spark_jobs.casts`).
    type
        As which Spark reads it.
    """

    name: str
    family: str
    type: str


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
        As its footer says, or counted by the boundaries of its format where it has none.
    bytes, sha256
        Of the whole file.
    version
        By which the storage told it from others when it was checked.
    columns
        Its columns, in the order of the copy's fields where there is one.
    copy
        The path in the lake of the copy that Spark reads instead; empty where it reads the file.
    """

    name: str
    day: dt.date
    rows: int
    bytes: int
    sha256: str
    version: str
    columns: tuple[RawColumn, ...]
    copy: str = ""


@dataclass(frozen=True)
class ExtractRequest:
    """What one extract has to do.

    Attributes
    ----------
    lake, raw_root
        URIs of the lake and of the raw files.
    based_on
        The ingest record current when the work began, of every day asked for; 0 for none.
    version, config_digest
        Of the ingest stage, when the work began.
    files, catalogues
        The raw files of those days; a closed day has none.
    faults
        What is wrong with the raw files of each day that was asked for and left out.
    """

    lake: str
    raw_root: str
    attempt: str
    based_on: dict[dt.date, int]
    version: int
    config_digest: str
    id_type: str
    raw: Raw
    events: Events
    rules: Rules
    catalogue: Catalogue | None
    files: tuple[RawFile, ...]
    catalogues: tuple[RawFile, ...]
    faults: dict[dt.date, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExtractResult:
    """What came out.

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
        Per day and reason the first such row, in words.
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
class FeaturesRequest:
    """What one build of feature tables has to do.

    Attributes
    ----------
    based_on
        The as-of days to build, ascending, each with the sequence of its feature record when the
        work began; 0 for none.
    ingested
        The ingest record current when the work began, of every day up to the last as-of day.
    weights
        The weight of each event type.
    ignored
        Event types that count no more, also where days were committed when they did.
    interactions
        Files of the interactions of those days.
    rows
        How many rows these files have.
    catalogues
        For each as-of day the files of the newest catalogue delivered by then; none without one.
    """

    lake: str
    attempt: str
    based_on: dict[dt.date, int]
    version: int
    config_digest: str
    id_type: str
    weights: dict[str, float]
    ignored: tuple[str, ...]
    ingested: dict[dt.date, int]
    interactions: tuple[str, ...]
    rows: int
    catalogues: dict[dt.date, tuple[str, ...]]


@dataclass(frozen=True)
class FeaturesResult:
    """Per table and as-of day its files and digest."""

    tables: dict[str, dict[dt.date, TableContent]]
