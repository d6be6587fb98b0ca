"""The sections of a data set's TOML about how what landed is judged, in the order of the file."""

from operator import not_
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lake import patterns
from lake.id_forms import AS_WRITTEN, IdForm
from lake.kinds import Section, Sequence, Text
from lake.raw_kinds import LARGEST_NUMBER, SENTINELS, ListFile, Pattern
from lake.schemas import ITEM

Action = Literal["off", "warn", "stop"]


def _is_as_written(form: IdForm) -> bool:
    """Whether ids are kept: the table is in no digest then."""
    return form == AS_WRITTEN


class ExcludeSection(Section):
    """Rows to leave out that are no faults: what is sold and is no product, who buys and is no customer."""

    items: Sequence[Text] = ()
    """Ids of what is no product, such as postage; numbers in quotes too."""
    items_file: ListFile = Field(default=(), exclude_if=not_)
    """A file beside the TOML with such an id in each line."""
    item_patterns: Sequence[Pattern] = ()
    """What such ids look like."""
    users: Sequence[Text] = ()
    """Ids of who is no customer, such as test accounts."""
    users_file: ListFile = Field(default=(), exclude_if=not_)
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
    max_quantity: float = Field(default=1e6, gt=0, le=LARGEST_NUMBER)
    """The largest quantity, in either direction."""
    max_amount: float = Field(default=1e8, gt=0, le=LARGEST_NUMBER)
    """The largest amount, in either direction."""
    sentinels: Sequence[Text] = SENTINELS
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
