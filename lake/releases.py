"""The sections `[lists]` and `[index]` of a data set: what a release holds, and what is said of it."""

from typing import Annotated

from pydantic import Field, field_validator

from lake.kinds import Count, Section, Seed, Sequence, Share, Trees


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
