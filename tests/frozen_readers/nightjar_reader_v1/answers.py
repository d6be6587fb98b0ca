"""What a reader answers."""

from dataclasses import dataclass

Id = int | str


@dataclass(frozen=True)
class Recommendations:
    """The list of one user, best first; ``fallback`` is 0 personal, 1 segment, 2 global."""

    user_id: Id
    items: tuple[Id, ...]
    scores: tuple[float, ...]
    fallback: int
    release_id: str


@dataclass(frozen=True)
class SimilarItems:
    """The items most like one item, best first; ``fallback`` 2 means popular items instead."""

    item_id: Id
    items: tuple[Id, ...]
    scores: tuple[float, ...]
    fallback: int
    release_id: str


@dataclass(frozen=True)
class Popular:
    """Popular items, best first; ``segment`` is the one that answered, None for all users."""

    segment: str | None
    items: tuple[Id, ...]
    scores: tuple[float, ...]
    release_id: str


@dataclass(frozen=True)
class Neighbours:
    """A search in the factors: inner products for a user, cosines for an item.

    ``exact`` is False where the index answered, whose recall the manifest states.
    """

    items: tuple[Id, ...]
    scores: tuple[float, ...]
    exact: bool
    release_id: str


@dataclass(frozen=True)
class CatalogueItem:
    """What the catalogue says about an item."""

    item_id: Id
    name: str | None
    category: str | None
