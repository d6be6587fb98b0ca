"""The sections of a data set's TOML about what lands, in the order of the file."""

import datetime as dt
from collections.abc import Iterable, Iterator
from operator import not_
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from lake import day_files, expressions
from lake.formats import FORMATS
from lake.formats.dialect import FLAT, RFC_4180, CsvSection, NestedSection
from lake.kinds import Day, Section, Sequence, Text, Zone
from lake.raw_kinds import Calendar, Mark, StampForm, Template, Weight
from lake.stamps import require_apart
from lake.toml import UNPARSED, near

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: Final = get_args(Weekday)


def _known(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"expected {', '.join(FORMATS)}{near(name, FORMATS)}")
    return name


FormatName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*FORMATS]})]


def _is_default(table: CsvSection | NestedSection) -> bool:
    """Whether a table says nothing: it is in no digest then, and a data set without it keeps its own."""
    return table in (RFC_4180, FLAT)


def _only_of_its_format(table: Any, info: ValidationInfo) -> Any:
    """Refuse a table that the format does not read."""
    kind = FORMATS.get(info.data.get("format", ""))
    if kind and info.field_name != kind.TABLE and isinstance(table, dict):
        raise ValueError(f"expected no such table, as format is {kind.NAME}")
    return table


def _names_what_is_mapped(csv: CsvSection, info: ValidationInfo) -> CsvSection:
    """Refuse names of columns of which ours lack one."""
    columns = info.data.get("columns")
    if not (columns and csv.columns) or _unparsed(info):
        return csv
    keyed = (column for text in info.data.get("event_key", ()) for column in expressions.columns_of(text))
    if lacking := sorted(columns.named.union(keyed) - set(csv.columns)):
        raise ValueError(f"its columns lack {', '.join(lacking)}, which the table beside it names")
    return csv


def _unparsed(info: ValidationInfo) -> bool:
    return bool((info.context or {}).get(UNPARSED))


class _Columns(Section):
    """Which raw column, or which expression over the raw row, makes which of ours.

    Attributes
    ----------
    MAY_LACK
        Those of ours whose raw columns a file may lack though they are mapped.
    """

    MAY_LACK: ClassVar[frozenset[str]]

    @field_validator("*")
    @classmethod
    def _can_be_parsed(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text and not _unparsed(info):
            expressions.parse(text)
        return text

    @property
    def named(self) -> frozenset[str]:
        """The raw columns that they name."""
        return frozenset(self._columns(type(self).model_fields))

    @property
    def optional(self) -> frozenset[str]:
        """The raw columns that a file may lack: those that no needed column of ours is made of."""
        return self.named - set(self._columns(type(self).model_fields.keys() - self.MAY_LACK))

    def _columns(self, names: Iterable[str]) -> Iterator[str]:
        texts = (text for name in names if (text := getattr(self, name)))
        return (column for text in texts for column in expressions.columns_of(text))


def _told_apart(text: str | None) -> tuple[bool, str] | None:
    """The same for two spellings of one name; a name is no expression."""
    return (expressions.is_expression(text), expressions.named(text)) if text else None


class RawColumns(_Columns):
    """Which raw column, or expression, makes which of ours, no two the same; one without any is null."""

    MAY_LACK = frozenset({"event_type", "quantity", "amount", "context_id", "segment"})

    user_id: Text
    """Who did it."""
    item_id: Text
    """With what."""
    event_ts: Text
    """When."""
    event_type: Text | None = None
    """What was done; without it each row is of the type `events.default`."""
    quantity: Text | None = None
    """How many."""
    amount: Text | None = None
    """What was paid for all of them."""
    context_id: Text | None = None
    """What belongs together, such as a basket or a session."""
    segment: Text | None = None
    """A group that the row belongs to, such as a shop."""

    @field_validator("*")
    @classmethod
    def _is_its_own(cls, text: str | None, info: ValidationInfo) -> str | None:
        """Refuse what an earlier column of ours is made of."""
        own = _told_apart(text)
        owner = next((name for name, taken in info.data.items() if text and _told_apart(taken) == own), None)
        if owner:
            raise ValueError(f"expected a column of its own, {text!r} is {owner} already")
        return text

    @field_validator("event_ts")
    @classmethod
    def _is_no_number(cls, text: str, info: ValidationInfo) -> str:
        if not _unparsed(info) and expressions.kind(expressions.parse(text)) == "number":
            raise ValueError("expected a text that is a stamp, found an expression that gives a number")
        return text


class RawSection(Section):
    """Where a day's raw files are and how their columns map."""

    files: Template
    """Where a day's rows land below `NIGHTJAR_RAW`: one file, or a set of them."""
    format: FormatName
    """The format of these files."""
    ready: Mark | None = Field(default=None, exclude_if=not_)
    """A file, such as `_SUCCESS`, that is there once all files of a day are."""
    manifest: Mark | None = Field(default=None, exclude_if=not_)
    """A CSV file of `file` and `rows` that lists all files of a day, once they are there; no `{hour}`."""
    stamps: Sequence[StampForm] = Field(default=(), exclude_if=not_)
    """How texts and numbers in the column of `event_ts` are written; without it texts are `iso`."""
    timezone: Zone = "UTC"
    """The zone of stamps that name none; without it that of the data set, `zone`."""
    late_days: int = Field(default=0, ge=0, le=366)
    """How many days a row may come late."""
    closed_days: Sequence[Day] = ()
    """Days of the data set on which no file is expected."""
    closed_weekdays: Sequence[Weekday] = Field(default=(), exclude_if=not_)
    """Days of each week on which none is."""
    closed_calendar: Calendar = Field(default=(), exclude_if=not_)
    """A file of further such days, those of other years too; the days count as a setting, not the path."""
    event_key: Sequence[Text] = Field(default=(), exclude_if=not_)
    """What names an event, such as the raw columns invoice and line; without it its whole row does."""
    columns: RawColumns
    csv: CsvSection = Field(default=RFC_4180, exclude_if=_is_default)
    nested: NestedSection = Field(default=FLAT, exclude_if=_is_default)

    _check_format = field_validator("csv", "nested", mode="before")(_only_of_its_format)
    _check_csv = field_validator("csv")(_names_what_is_mapped)
    _check_stamps = field_validator("stamps")(require_apart)

    @field_validator("manifest")
    @classmethod
    def _is_of_a_day(cls, manifest: str | None) -> str | None:
        if manifest and day_files.HOUR_FIELD in manifest:
            raise ValueError("expected one manifest a day, without {hour}")
        return manifest

    @field_validator("event_key")
    @classmethod
    def _is_parsed(cls, key: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for text in () if _unparsed(info) else key:
            expressions.parse(text)
        return key

    @property
    def optional(self) -> frozenset[str]:
        """The raw columns that a file may lack: those that are mapped, and neither needed nor of the key."""
        return self.columns.optional.difference(*map(expressions.columns_of, self.event_key))

    def is_closed(self, day: dt.date) -> bool:
        """Whether no file is expected on a day."""
        weekday = WEEKDAYS[day.weekday()]
        return weekday in self.closed_weekdays or day in self.closed_days or day in self.closed_calendar

    @property
    def reach(self) -> dt.timedelta:
        """How far back copies of an event are sought."""
        return dt.timedelta(days=self.late_days if self.event_key else 0)

    def path(self, day: dt.date) -> str:
        """The file of a day, relative to `NIGHTJAR_RAW`; of a set the pattern."""
        return day_files.of_day(self.files, day)


class EventsSection(Section):
    """Event types: the default, the weight of each, which are labels, which are unwanted."""

    default: Text
    """The type of rows that name none; it needs a weight."""
    weights: dict[Text, Weight] = Field(min_length=1)
    """How much an event of each type counts; one of weight 0 is an event too."""
    labels: Annotated[Sequence[Text], Field(min_length=1)]
    """The types that the ranker learns to foresee; each has a weight."""
    ignore: Sequence[Text] = ()
    """The types to leave out; they have no weight."""

    @model_validator(mode="after")
    def _each_type_has_a_weight_or_is_ignored(self) -> "EventsSection":
        if both := sorted(set(self.ignore) & set(self.weights)):
            raise ValueError(f"ignore and weights both name {both}: keep one of the two")
        unknown = ({self.default} | set(self.labels)) - set(self.weights)
        if unknown:
            raise ValueError(f"events.weights lacks {sorted(unknown)}")
        return self


class CatalogueColumns(_Columns):
    """Which raw column, or expression, makes which of ours; those that none names become attributes."""

    MAY_LACK = frozenset({"brand"})

    item_id: Text
    """Which item it is."""
    name: Text | None = None
    """What people call it; without it readers have the id alone."""
    category: Text | None = None
    """The wider group that it belongs to; without it none is known."""
    subcategory: Text | None = None
    """The narrower group, whose habits the features know; without it they are null."""
    brand: Text | None = None
    """Who makes it."""


class CatalogueSection(Section):
    """Where catalogue snapshots are; one counts from the day it was delivered."""

    files: Template
    """Where a snapshot lands below `NIGHTJAR_RAW`; not the same as `raw.files`."""
    format: FormatName
    """The format of these files."""
    columns: CatalogueColumns
    csv: CsvSection = Field(default=RFC_4180, exclude_if=_is_default)
    nested: NestedSection = Field(default=FLAT, exclude_if=_is_default)

    _check_format = field_validator("csv", "nested", mode="before")(_only_of_its_format)
    _check_csv = field_validator("csv")(_names_what_is_mapped)

    def path(self, day: dt.date) -> str:
        """The snapshot that came on a day, relative to `NIGHTJAR_RAW`; of a set the pattern."""
        return day_files.of_day(self.files, day)
