"""The sections of a data set's TOML about what lands and how it is judged, in the order of the file."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lake import day_files, expressions, kinds, patterns
from lake.formats import FORMATS
from lake.formats.dialect import FLAT, RFC_4180, CsvSection, NestedSection
from lake.id_forms import AS_WRITTEN, IdForm
from lake.kinds import (
    Calendar,
    Day,
    ListFile,
    Mark,
    Pattern,
    Section,
    Sequence,
    StampForm,
    Template,
    Text,
    Weight,
    Zone,
)
from lake.schemas import ITEM
from lake.stamps import require_apart
from lake.toml import UNPARSED, near

Action = Literal["off", "warn", "stop"]
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


def _is_as_written(form: IdForm) -> bool:
    """Whether ids are kept: the table is in no digest then."""
    return form == AS_WRITTEN


def _is_unset(value: object) -> bool:
    """Whether a key says nothing: it is in no digest then."""
    return not value


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
    ready: Mark | None = Field(default=None, exclude_if=_is_unset)
    """A file, such as `_SUCCESS`, that is there once all files of a day are."""
    manifest: Mark | None = Field(default=None, exclude_if=_is_unset)
    """A CSV file of `file` and `rows` that lists all files of a day, once they are there; no `{hour}`."""
    stamps: Sequence[StampForm] = Field(default=(), exclude_if=_is_unset)
    """How texts and numbers in the column of `event_ts` are written; without it texts are `iso`."""
    timezone: Zone = "UTC"
    """The zone of stamps that name none; without it that of the data set, `zone`."""
    late_days: int = Field(default=0, ge=0, le=366)
    """How many days a row may come late."""
    closed_days: Sequence[Day] = ()
    """Days of the data set on which no file is expected."""
    closed_weekdays: Sequence[Weekday] = Field(default=(), exclude_if=_is_unset)
    """Days of each week on which none is."""
    closed_calendar: Calendar = Field(default=(), exclude_if=_is_unset)
    """A file of further such days, those of other years too; the days count as a setting, not the path."""
    event_key: Sequence[Text] = Field(default=(), exclude_if=_is_unset)
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


class ExcludeSection(Section):
    """Rows to leave out that are no faults: what is sold and is no product, who buys and is no customer."""

    items: Sequence[Text] = ()
    """Ids of what is no product, such as postage; numbers in quotes too."""
    items_file: ListFile = Field(default=(), exclude_if=_is_unset)
    """A file beside the TOML with such an id in each line."""
    item_patterns: Sequence[Pattern] = ()
    """What such ids look like."""
    users: Sequence[Text] = ()
    """Ids of who is no customer, such as test accounts."""
    users_file: ListFile = Field(default=(), exclude_if=_is_unset)
    """A file beside the TOML with such an id in each line."""
    user_patterns: Sequence[Pattern] = ()
    """What such ids look like."""
    bot_deviations: int | None = Field(default=None, ge=1, le=100)
    """A user of so many median deviations of log rows a day above the median is a bot; unset, nobody is."""
    bot_min_rows: int = Field(default=1000, ge=1, le=10**12)
    """A user of so many rows a day, or fewer, is no bot."""

    def of(self, column: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ids to leave out of a column, `item_id` or `user_id`, and the patterns of others."""
        if column == ITEM:
            return (*self.items, *self.items_file), self.item_patterns
        return (*self.users, *self.users_file), self.user_patterns

    def has_item(self, item: object) -> bool:
        """Whether an item is left out."""
        ids, looks = self.of(ITEM)
        return str(item) in ids or any(patterns.matches(look, str(item)) for look in looks)


NO_EXCLUSION: Final = ExcludeSection()
NetColumn = Literal["user_id", "item_id", "context_id", "segment"]
_NET_BY: Final[tuple[NetColumn, ...]] = ("user_id", "item_id")


class RulesSection(Section):
    """Row rules and thresholds of the ingest checks."""

    min_rows: int = Field(default=1, ge=0, le=10**12)
    """A day of fewer rows is refused."""
    max_rows: int = Field(default=10**12, ge=1, le=10**12)
    """A day of more rows is refused; at least `min_rows`."""
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    """The largest share of bad rows among those of a day that are not ignored."""
    max_bad_catalogue_share: float = Field(default=0.01, ge=0, le=1)
    """The largest share of bad rows among those of a catalogue."""
    returns: Literal["quarantine", "fault", "net"] = "quarantine"
    """Whether negative rows are set aside as returns, are bad, or are settled with purchases of the day."""
    net_by: Sequence[NetColumn] = Field(default=_NET_BY, exclude_if=lambda by: by == _NET_BY)
    """In which columns of ours a return and its purchase are equal; `user_id` and `item_id` unless told."""
    max_return_share: float = Field(default=0.5, ge=0, le=1)
    """The largest share of returns among the rows of a day that are not ignored."""
    rounding: Literal["warn", "quarantine"] = "warn"
    """Whether numbers of too many decimals are rounded half up, with a warning, or set aside."""
    max_quantity: float = Field(default=1e6, gt=0, le=kinds.LARGEST_NUMBER)
    """The largest quantity, in either direction."""
    max_amount: float = Field(default=1e8, gt=0, le=kinds.LARGEST_NUMBER)
    """The largest amount, in either direction."""
    sentinels: Sequence[Text] = kinds.SENTINELS
    """Texts that are nobody's id, in upper or lower case; a list replaces the default."""
    float_ids: Literal["quarantine", "keep"] = "quarantine"
    """Whether text ids such as `123.0` are bad, or taken as they are."""
    max_id_length: int = Field(default=256, ge=1, le=1024)
    """The most letters of a text id."""
    user_ids: IdForm = Field(default=AS_WRITTEN, exclude_if=_is_as_written)
    item_ids: IdForm = Field(default=AS_WRITTEN, exclude_if=_is_as_written)
    exclude: ExcludeSection = Field(default=NO_EXCLUSION, exclude_if=lambda exclude: exclude == NO_EXCLUSION)

    @field_validator("net_by")
    @classmethod
    def _names_an_item_and_its_owner(cls, by: tuple[NetColumn, ...]) -> tuple[NetColumn, ...]:
        if "item_id" not in by or not {"user_id", "context_id"} & set(by):
            raise ValueError("expected item_id, and user_id or context_id")
        return by

    @field_validator("max_rows")
    @classmethod
    def _at_least_min_rows(cls, rows: int, info: ValidationInfo) -> int:
        if rows < info.data.get("min_rows", 0):
            raise ValueError(f"expected at least min_rows, which is {info.data['min_rows']}")
        return rows


class Comparison(Section):
    """What one comparison does, and how far a day may be from the usual."""

    # A key that a TOML leaves out keeps the default of its comparison (`CompareSection`).
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None))

    action: Action = "warn"
    """Whether an unusual day passes in silence, warns, or is refused (`stop`)."""
    tolerance: float
    """What always passes, however steady the history: a factor (either way), or a share."""


class ByFactor(Comparison):
    """A number may be so many times the usual, or so many times less."""

    tolerance: float = Field(gt=1, le=1e6)
    """How many times the usual, or how many times less, always passes."""


class ByShare(Comparison):
    """A part of the whole may differ."""

    tolerance: float = Field(gt=0, le=1)
    """How large a part of the whole may always differ."""


class CompareSection(Section):
    """Each comparison of a day with the data set's own last days."""

    days: int = Field(default=56, ge=14, le=366)
    """How far back the history goes."""
    stop_after: int = Field(default=14, ge=0, le=366)
    """Days of history before which each comparison only warns; at most two thirds of `days`."""
    min_rows: int = Field(default=20, ge=1, le=10**12)
    """A number that rests on fewer rows is not compared."""
    rows: ByFactor = ByFactor(tolerance=1.5)
    """Clean rows."""
    users: ByFactor = ByFactor(tolerance=1.5)
    """Distinct users in clean rows."""
    items: ByFactor = ByFactor(tolerance=1.5)
    """Distinct items in clean rows."""
    busiest_user: ByFactor = ByFactor(tolerance=2.0)
    """The rows of the user with the most; fewer than usual is no fault."""
    event_types: ByFactor = ByFactor(tolerance=2.0)
    """The share of each event type."""
    segments: ByShare = ByShare(tolerance=0.05)
    """The share of rows that lie in other segments than usual."""
    amounts: ByFactor = ByFactor(tolerance=1.5)
    """Quantiles (.1, .25, .5, .75, .9, .99) of those above 0, and the share of rows with one."""
    quantities: ByFactor = ByFactor(tolerance=2.5)
    """Quantiles (.1, .25, .5, .75, .9, .99) of those above 0, and the share of rows with one."""
    amount_scale: ByFactor = ByFactor(action="stop", tolerance=5.0)
    """Quantiles (.25 to .9) of amounts again, for a wrong unit: no history lets ten times the usual pass."""
    known_items: ByShare = ByShare(tolerance=0.02)
    """The share of rows whose item the catalogue has; more than usual is no fault."""
    catalogue: ByShare = ByShare(action="stop", tolerance=0.1)
    """The share of the previous catalogue's items that a new one lacks."""

    @field_validator("*", mode="before")
    @classmethod
    def _keep_defaults(cls, value: Any, info: ValidationInfo) -> Any:
        """A comparison with only one of its keys given keeps the default of the other."""
        default = cls.model_fields[info.field_name or ""].default
        is_table = isinstance(default, Comparison) and isinstance(value, dict)
        return default.model_dump() | value if is_table else value

    @model_validator(mode="after")
    def _can_stop(self) -> "CompareSection":
        if 3 * self.stop_after > 2 * self.days:  # two days of each week may be closed, and so have no history
            most = 2 * self.days // 3
            raise ValueError(f"stop_after is {self.stop_after}: expected at most two thirds of days, {most}")
        return self
