"""The sections of a data set's TOML about what nights make of it, in the order of the file."""

import datetime as dt
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from lake.feature_spec import Window
from lake.kinds import Count, Section, Seed, Sequence, Share, Trees

Part = Annotated[float, Field(ge=1e-6, le=1)]
"""A share that has an effect, and that XGBoost takes: it refuses what float32 cannot hold."""
Days = Annotated[int, Field(ge=1, le=366)]
HalfLife = Annotated[int, Field(ge=1, le=3650)]
SPARK_FACTORS: Final = 4
"""Java's implementations of BLAS sum the same way only where no more than this many lanes have no rest."""
_LOWER: Final = {
    "medium_days": "short_days",
    "long_days": "medium_days",
    "slow_half_life": "fast_half_life",
    "history_days": "long_days",
}
"""Of some keys the one that must be smaller."""


class FeaturesSection(Section):
    """Windows and half-lives of the features."""

    short_days: Days = 7
    """How many days the shortest window has: features that end in `_short`."""
    medium_days: Days = 28
    """How many days the middle window has, `_medium`; above `short_days`."""
    long_days: Days = 91
    """How many days the longest window has, `_long`; above `medium_days`."""
    fast_half_life: HalfLife = 15
    """After how many days an event weighs half in `weight_fast`."""
    slow_half_life: HalfLife = 60
    """After how many days an event weighs half in `weight_slow`; above `fast_half_life`."""
    trip_half_life: HalfLife = 30
    """After how many days a day with an event weighs half in `trip_rate`."""
    rebuy_days: Days = 28
    """Within how many days an item has to be bought again for `rebuy`."""
    rebuy_shrink: int = Field(default=20, ge=1, le=10**6)
    """How many purchases of an item count as much for `rebuy` as its whole subcategory."""
    history_days: int | None = Field(default=None, ge=2, le=36_600)
    """After how many days without an event users and pairs have no features; above `long_days`."""

    @field_validator(*_LOWER)
    @classmethod
    def _above_the_lower(cls, days: int | None, info: ValidationInfo) -> int | None:
        lower = _LOWER[info.field_name or ""]
        if days is not None and days <= info.data.get(lower, 0):
            raise ValueError(f"expected more than {lower}, which is {info.data[lower]}")
        return days


class RetrievalSection(Section):
    """ALS and item-item neighbours.

    With the backend `spark`, `factors` is a multiple of 4, a purchase weighs 1 more than `alpha` says, and
    `regularization` is a mean: each user and item is held down in proportion to its number of pairs.
    """

    backend: Literal["implicit", "spark"] = "implicit"
    """Who fits ALS: the library implicit where training runs, or Spark ML as a job (docs/cluster.md)."""
    factors: int = Field(default=64, ge=1, le=1024)
    """How many factors a user and an item have."""
    regularization: float = Field(default=8.0, ge=1e-3, le=1e6)  # below, float32 has no solution of ALS
    """How strongly ALS holds factors down; users who purchased too little beside it get none."""
    alpha: float = Field(default=4.0, ge=1e-6, le=1e6)  # below, ALS does not move from its random start
    """How much a purchase weighs beside what was not bought."""
    damping: float = Field(default=4.0, ge=1e-6, le=1e6)
    """ALS sees log(1 + damping x weight) of a pair: the tenth purchase says less than the first."""
    iterations: int = Field(default=10, ge=1, le=1000)
    """How often ALS goes over users and items."""
    neighbours: int = Field(default=100, ge=1, le=1000)
    """How many nearest items each item keeps, by purchases weighted with BM25."""
    bm25_k1: float = Field(default=1.2, ge=0, le=1e6)
    """How slowly further purchases of an item by a user stop adding weight."""
    bm25_b: float = Field(default=0.75, ge=0, le=1)
    """How much less items count that are bought more than others; 0 is not at all."""
    seed: Seed = 0
    """Of the random start of ALS."""

    @field_validator("factors")
    @classmethod
    def _fits_the_backend(cls, factors: int, info: ValidationInfo) -> int:
        if info.data.get("backend") == "spark" and factors % SPARK_FACTORS:
            raise ValueError(f"expected a multiple of {SPARK_FACTORS}, as backend is spark")
        return factors


class CandidatesSection(Section):
    """How many candidates each source gives a user."""

    limit: int = Field(default=200, ge=1, le=200)
    """How many a user has: ALS, neighbours and popularity fill up in turn what `own` leaves."""
    own: int = Field(default=150, ge=0)
    """How many the user's own purchases give at most, where `repeats` allows them; not above `limit`."""
    item_item: int = Field(default=0, ge=0)
    """How many the neighbours of the user's purchases give at most; not above `limit`."""

    popular_window: Window = "medium"
    """The window of features in which users make an item popular."""

    @field_validator("own", "item_item")
    @classmethod
    def _within_the_limit(cls, count: int, info: ValidationInfo) -> int:
        if count > info.data.get("limit", count):
            raise ValueError(f"expected at most limit, which is {info.data['limit']}")
        return count


class TrainingSection(Section):
    """Snapshots, labels, users and negatives of the ranker's training set.

    Memory follows `snapshots` x `max_users` x `negatives`: 0.5 KB for each, unless the ranker is on disk.
    """

    snapshots: int = Field(default=4, ge=1, le=52)
    """How many as-of days the ranker learns from."""
    label_days: int = Field(default=7, ge=1, le=28)
    """How long labels are looked for after an as-of day, and how far snapshots lie apart."""
    max_users: int = Field(default=25_000, ge=1, le=10**9)
    """How many users with a label are taken of each snapshot, by the lowest hash of id and day."""
    negatives: int = Field(default=60, ge=1, le=10_000)
    """How many candidates without a label are taken of each user."""

    @property
    def label_window(self) -> dt.timedelta:
        """How long labels are looked for after an as-of day, and how far snapshots lie apart."""
        return dt.timedelta(days=self.label_days)


class RankerSection(Section):
    """XGBoost's parameters."""

    objective: Literal["binary:logistic", "rank:ndcg"] = "binary:logistic"
    """Whether it learns single labels, or the order of a user's candidates."""
    rounds: int = Field(default=120, ge=1, le=10_000)
    """How many trees."""
    eta: Part = 0.06
    """How far each tree moves the score."""
    max_depth: int = Field(default=6, ge=1, le=16)
    """How many questions deep a tree is."""
    min_child_weight: float = Field(default=20.0, ge=0, le=1e9)
    """How much weight (hessian) each leaf has at least."""
    subsample: Part = 0.8
    """The share of rows that each tree sees."""
    colsample_bytree: Part = 0.6
    """The share of features that each tree sees."""
    seed: Seed = 0
    """Of the choice of rows and features."""


class EvaluationSection(Section):
    """How models are compared."""

    cut: int = Field(default=10, ge=1, le=200)
    """How many places of a list the metrics look at."""
    min_users: int = Field(default=100, ge=1, le=10**9)
    """How many users must be evaluated for a result to count."""
    draws: int = Field(default=1000, ge=100, le=100_000)
    """How many bootstrap samples an interval rests on."""
    seed: Seed = 0
    """Of the bootstrap samples."""


class PromotionSection(Section):
    """What a new model must reach beside a higher NDCG than the best baseline."""

    champion_share: float = Field(default=0.99, ge=0, le=2)
    """The least share of the champion's NDCG: the two differ by chance, and the new one is fresher."""
    coverage_share: float = Field(default=0.5, ge=0, le=2)
    """The least share of the best baseline's item coverage, so that lists do not shrink to a few items."""
    popularity_factor: float = Field(default=2.0, ge=0.01, le=1e6)
    """How many times as popular as the best baseline's items its own may be."""


class ListsSection(Section):
    """Sizes of what a release holds, and the shares of users above which a warning comes."""

    length: int = Field(default=50, ge=1, le=1000)
    """How many items a user's list has; popular items fill it up beyond `candidates.limit`."""
    similar: int = Field(default=50, ge=1, le=1000)
    """How many items an item's list has."""
    popular: int = Field(default=200, ge=1, le=10_000)
    """How many popular items it has, for users without a list of their own."""
    buckets: int = Field(default=64, ge=1, le=100)  # the names of their files have two digits
    """How many files the lists of users, and those of items, are split into."""
    max_identical_share: float = Field(default=0.5, ge=0, le=1)
    """A warning comes above this share of users with one and the same list."""
    max_fallback_share: float = Field(default=0.5, ge=0, le=1)
    """A warning comes above this share of users with popular items only."""
    max_empty_share: float = Field(default=0.01, ge=0, le=1)
    """A warning comes above this share of users with an empty list."""
    max_changed_share: float = Field(default=1.0, ge=0, le=1)
    """A warning comes above this share of users whose top ten differs from the last release; 1 is never."""


class IndexSection(Section):
    """The Annoy index for item-to-item search."""

    trees: Annotated[Sequence[Trees], Field(min_length=1)] = (25, 50, 100, 200)
    """Numbers of trees to try, ascending; the first that suffices is taken."""
    search_k: int = Field(default=40_000, ge=1, le=2**31 - 1)
    """How many nodes a search looks at."""
    recall_at: int = Field(default=100, ge=1, le=10_000)
    """How many nearest items of each query recall is measured on."""
    recall_floor: Share = 0.95
    """The least recall; below it the index is left out, and readers search exactly."""
    queries: Count = 1000
    """How many items recall is measured with."""
    seed: Seed = 0
    """Of the trees."""

    @field_validator("trees")
    @classmethod
    def _fewest_first(cls, trees: tuple[int, ...]) -> tuple[int, ...]:
        if list(trees) != sorted(trees):
            raise ValueError("expected ascending numbers, for the first that suffices is taken")
        return trees
