"""The sections of a data set's TOML: one class each, in the order of the file."""

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lake import kinds
from lake.kinds import (
    PLACEHOLDER,
    Count,
    Day,
    Section,
    Seed,
    Sequence,
    Share,
    Template,
    Text,
    Trees,
    Weight,
    Zone,
)

FileFormat = Literal["parquet", "csv", "jsonl"]
Action = Literal["off", "warn", "stop"]
Part = Annotated[float, Field(ge=1e-6, le=1)]
"""A share that XGBoost takes, and that does something: it refuses what float32 cannot hold."""


class RawColumns(Section):
    """Which raw column holds which of ours; an absent optional column is null in the lake."""

    user_id: Text
    item_id: Text
    event_ts: Text
    event_type: Text | None = None
    quantity: Text | None = None
    amount: Text | None = None
    context_id: Text | None = None
    segment: Text | None = None

    _check_columns = field_validator("*")(kinds.own)


class Raw(Section):
    """Where a day's raw files are and how their columns map."""

    files: Template
    format: FileFormat
    timezone: Zone = "UTC"
    late_days: int = Field(default=0, ge=0, le=366)
    closed_days: Sequence[Day] = ()
    columns: RawColumns

    def path(self, day: dt.date) -> str:
        """The file of a day, relative to `NIGHTJAR_RAW`."""
        return self.files.replace(PLACEHOLDER, day.isoformat())


class Events(Section):
    """Event types: the default, the weight of each, which are labels, which are unwanted."""

    default: Text
    weights: dict[Text, Weight] = Field(min_length=1)
    labels: Annotated[Sequence[Text], Field(min_length=1)]
    ignore: Sequence[Text] = ()

    @model_validator(mode="after")
    def _each_type_has_a_weight_or_is_ignored(self) -> "Events":
        if both := sorted(set(self.ignore) & set(self.weights)):
            raise ValueError(f"ignore and weights both name {both}: keep one of the two")
        unknown = ({self.default} | set(self.labels)) - set(self.weights)
        if unknown:
            raise ValueError(f"events.weights lacks {sorted(unknown)}")
        return self


class CatalogueColumns(Section):
    """Which catalogue column holds which of ours; all others become attributes."""

    item_id: Text
    name: Text
    category: Text
    subcategory: Text
    brand: Text | None = None


class Catalogue(Section):
    """Where catalogue snapshots are; one counts from the day it was delivered."""

    files: Template
    format: FileFormat
    columns: CatalogueColumns

    def path(self, day: dt.date) -> str:
        """The snapshot that came on a day, relative to `NIGHTJAR_RAW`."""
        return self.files.replace(PLACEHOLDER, day.isoformat())


class Rules(Section):
    """Row rules and thresholds of the ingest checks."""

    min_rows: int = Field(default=1, ge=0, le=10**12)
    max_rows: int = Field(default=10**12, ge=1, le=10**12)
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    max_bad_catalogue_share: float = Field(default=0.01, ge=0, le=1)
    returns: Literal["quarantine", "fault"] = "quarantine"
    max_return_share: float = Field(default=0.5, ge=0, le=1)
    rounding: Literal["warn", "quarantine"] = "warn"
    max_quantity: float = Field(default=1e6, gt=0, le=kinds.LARGEST_NUMBER)
    max_amount: float = Field(default=1e8, gt=0, le=kinds.LARGEST_NUMBER)
    sentinels: Sequence[Text] = kinds.SENTINELS
    float_ids: Literal["quarantine", "keep"] = "quarantine"
    max_id_length: int = Field(default=256, ge=1, le=1024)

    @field_validator("max_rows")
    @classmethod
    def _at_least_min_rows(cls, rows: int, info: ValidationInfo) -> int:
        if rows < info.data.get("min_rows", 0):
            raise ValueError(f"expected at least min_rows, which is {info.data['min_rows']}")
        return rows


class Comparison(Section):
    """What one comparison does, and how far a day may be from the usual.

    Attributes
    ----------
    action
        ``stop`` refuses the day.
    tolerance
        What is always borne, however steady the history: a factor (either way), or a share.
    """

    action: Action = "warn"
    tolerance: float


class ByFactor(Comparison):
    """A number may be so many times the usual, or so many times less."""

    tolerance: float = Field(gt=1, le=1e6)


class ByShare(Comparison):
    """So large a part of the whole may differ."""

    tolerance: float = Field(gt=0, le=1)


class Compare(Section):
    """Each comparison of a day with the data set's own last days.

    Attributes
    ----------
    days
        How far back the history goes.
    stop_after
        Days of history from which on a comparison may stop; before, each only warns.
    min_rows
        Numbers of fewer rows than this say nothing.
    rows, users, items
        Clean rows, and distinct users and items in them.
    busiest_user
        The rows of the user with the most; fewer than usual is no fault.
    event_types
        The share of each event type.
    segments
        The share of rows that lie in other segments than usual.
    amounts, quantities
        Quantiles of those above 0, and the share of rows with one.
    amount_scale
        Quantiles of amounts again, for a wrong unit: ten times the usual is found for sure.
    known_items
        The share of rows whose item the catalogue has; more than usual is no fault.
    catalogue
        The share of the items of the catalogue before that a new one lacks.
    """

    days: int = Field(default=56, ge=14, le=366)
    stop_after: int = Field(default=14, ge=0, le=366)
    min_rows: int = Field(default=20, ge=1, le=10**12)
    rows: ByFactor = ByFactor(tolerance=1.5)
    users: ByFactor = ByFactor(tolerance=1.5)
    items: ByFactor = ByFactor(tolerance=1.5)
    busiest_user: ByFactor = ByFactor(tolerance=2.0)
    event_types: ByFactor = ByFactor(tolerance=2.0)
    segments: ByShare = ByShare(tolerance=0.05)
    amounts: ByFactor = ByFactor(tolerance=1.5)
    quantities: ByFactor = ByFactor(tolerance=2.5)
    amount_scale: ByFactor = ByFactor(action="stop", tolerance=5.0)
    known_items: ByShare = ByShare(tolerance=0.02)
    catalogue: ByShare = ByShare(action="stop", tolerance=0.1)

    @field_validator("*", mode="before")
    @classmethod
    def _keep_what_is_not_named(cls, value: Any, info: ValidationInfo) -> Any:
        """A comparison of which one key is given keeps the default of the other."""
        default = cls.model_fields[info.field_name or ""].default
        is_table = isinstance(default, Comparison) and isinstance(value, dict)
        return default.model_dump() | value if is_table else value

    @model_validator(mode="after")
    def _can_stop(self) -> "Compare":
        if 3 * self.stop_after > 2 * self.days:  # a week may have two closed days
            most = 2 * self.days // 3
            raise ValueError(f"stop_after is {self.stop_after}: expected at most two thirds of days, {most}")
        return self


class Retrieval(Section):
    """ALS and item-item neighbours."""

    factors: int = Field(default=64, ge=1, le=1024)
    regularization: float = Field(default=8.0, ge=1e-3, le=1e6)  # below, float32 has no solution of ALS
    alpha: float = Field(default=4.0, ge=1e-6, le=1e6)  # below, ALS does not move from its random start
    iterations: int = Field(default=10, ge=1, le=1000)
    neighbours: int = Field(default=100, ge=1, le=1000)
    seed: Seed = 0


class Candidates(Section):
    """How many candidates each source gives a user."""

    limit: int = Field(default=200, ge=1, le=200)
    own: int = Field(default=150, ge=0)
    item_item: int = Field(default=0, ge=0)

    @field_validator("own", "item_item")
    @classmethod
    def _within_the_limit(cls, count: int, info: ValidationInfo) -> int:
        if count > info.data.get("limit", count):
            raise ValueError(f"expected at most limit, which is {info.data['limit']}")
        return count


class Training(Section):
    """Snapshots, labels, users and negatives of the ranker's training set.

    Memory follows `snapshots` x `max_users` x `negatives`: about 0.7 KB for each of these.
    """

    snapshots: int = Field(default=4, ge=1, le=52)
    label_days: int = Field(default=7, ge=1, le=28)
    max_users: int = Field(default=25_000, ge=1, le=10**9)
    negatives: int = Field(default=60, ge=1, le=10_000)


class Ranker(Section):
    """XGBoost's parameters."""

    objective: Literal["binary:logistic", "rank:ndcg"] = "binary:logistic"
    rounds: int = Field(default=120, ge=1, le=10_000)
    eta: Part = 0.06
    max_depth: int = Field(default=6, ge=1, le=16)
    min_child_weight: float = Field(default=20.0, ge=0, le=1e9)
    subsample: Part = 0.8
    colsample_bytree: Part = 0.6
    seed: Seed = 0


class Evaluation(Section):
    """How models are compared."""

    cut: int = Field(default=10, ge=1, le=200)
    min_users: int = Field(default=100, ge=1, le=10**9)
    draws: int = Field(default=1000, ge=100, le=100_000)
    seed: Seed = 0


class Lists(Section):
    """Sizes of what a release holds, and the largest shares of users about which nothing is said."""

    length: int = Field(default=50, ge=1, le=1000)
    similar: int = Field(default=50, ge=1, le=1000)
    popular: int = Field(default=200, ge=1, le=10_000)
    buckets: int = Field(default=64, ge=1, le=100)  # the names of their files have two digits
    max_identical_share: float = Field(default=0.5, ge=0, le=1)
    max_fallback_share: float = Field(default=0.5, ge=0, le=1)
    max_empty_share: float = Field(default=0.01, ge=0, le=1)
    max_changed_share: float = Field(default=1.0, ge=0, le=1)


class Index(Section):
    """The Annoy index for item-to-item search."""

    trees: Annotated[Sequence[Trees], Field(min_length=1)] = (25, 50, 100, 200)
    search_k: int = Field(default=20_000, ge=1, le=2**31 - 1)
    recall_at: int = Field(default=100, ge=1, le=10_000)
    recall_floor: Share = 0.95
    queries: Count = 1000
    seed: Seed = 0

    @field_validator("trees")
    @classmethod
    def _fewest_first(cls, trees: tuple[int, ...]) -> tuple[int, ...]:
        if list(trees) != sorted(trees):
            raise ValueError("expected ascending numbers, for the first that suffices is taken")
        return trees
