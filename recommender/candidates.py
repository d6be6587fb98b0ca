"""Candidates: which items of a user are worth scoring.

Each source ranks items for users with its one verb, `rank`; `candidates` mixes them: the user's
own history first, then one item of each other source in turn.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from lake.dataset import Dataset
from recommender import kernels
from recommender.arrays import Bool, Float32, Int8, Int32, Int64, csr_parts
from recommender.retrieval import Retrieval, known
from recommender.view import View
from topn import top_n


@dataclass(frozen=True)
class Ranked:
    """Items of users, best first; the ranges of two users may overlap.

    Attributes
    ----------
    start, stop
        int64 ``[users]``: where a user's items lie.
    items
        int32 codes.
    scores
        float32, one per item.
    """

    start: Int64
    stop: Int64
    items: Int32
    scores: Float32


class Source(Protocol):
    """Something that ranks items for users."""

    def rank(self, users: Int32, n: int) -> Ranked:
        """The best `n` items of each user, score descending, then code ascending."""


@dataclass(frozen=True)
class Own:
    """What the user bought before, by decayed purchases."""

    view: View
    allowed: Bool

    def rank(self, users: Int32, n: int) -> Ranked:
        """The best `n` of the user's own items."""
        rows = self.view.weights[users]
        return best(rows.indptr, rows.indices, rows.data, self.allowed, n)


@dataclass(frozen=True)
class Als:
    """Largest dot products of factors; nothing for a user without factors."""

    view: View
    retrieval: Retrieval
    allowed: Bool
    repeats: bool

    def rank(self, users: Int32, n: int) -> Ranked:
        """The best `n` items by factors, exactly."""
        factors = self.retrieval.user_factors[users]
        items = self.retrieval.item_factors
        seen = None if self.repeats else self.view.weights[users]
        nearest = top_n(factors, items, n, exclude=seen, allowed=self.allowed & known(items), threads=1)
        start = nearest.indptr[:-1].astype(np.int64)
        stop = np.where(known(factors), nearest.indptr[1:], start).astype(np.int64)
        return Ranked(start, stop, nearest.items, nearest.scores)


@dataclass(frozen=True)
class ItemItem:
    """Neighbours of what the user bought, weighted by decayed purchases."""

    view: View
    retrieval: Retrieval
    allowed: Bool
    repeats: bool

    def rank(self, users: Int32, n: int) -> Ranked:
        """The best `n` items with a positive score."""
        bought, near = csr_parts(self.view.weights), csr_parts(self.retrieval.similarity)
        sizes, items, scores = kernels.nearest(
            *bought, *near, users.astype(np.int32), self.allowed, self.repeats, n
        )
        start = np.arange(len(users), dtype=np.int64) * n
        return Ranked(start, start + sizes, items, scores)


@dataclass(frozen=True)
class MostPopular:
    """What most users bought lately, the same for everybody."""

    popularity: Float32
    allowed: Bool

    def rank(self, users: Int32, n: int) -> Ranked:
        """The `n` most popular items."""
        items, scores = most_popular(self.popularity, self.allowed, n)
        start = np.zeros(len(users), np.int64)
        return Ranked(start, start + len(items), items, scores)


def most_popular(popularity: Float32, allowed: Bool, n: int) -> tuple[Int32, Float32]:
    """The `n` most popular allowed items, with their scores; ties by code.

    Examples
    --------
    >>> items, scores = most_popular(np.float32([2, 5, 9, 5]), np.array([True, True, False, True]), 2)
    >>> items.tolist(), scores.tolist()
    ([1, 3], [5.0, 5.0])
    """
    codes = np.flatnonzero(allowed)
    order = codes[np.argsort(-popularity[codes], kind="stable")][:n].astype(np.int32)
    return order, popularity[order]


def best(indptr: Int64, items: Int32, scores: Float32, allowed: Bool, n: int) -> Ranked:
    """The best `n` allowed of each row of a CSR matrix, score descending, then code ascending."""
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    keep = allowed[items]
    row, items, scores = row[keep], items[keep], scores[keep]
    order = np.lexsort((items, -scores, row))
    ends = np.cumsum(np.bincount(row, minlength=len(indptr) - 1))
    start = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(indptr) - 1]
    return Ranked(start, np.minimum(start + n, ends), items[order], scores[order])


@dataclass(frozen=True)
class Mixed:
    """Unique items of users, in the order in which they were drawn.

    Attributes
    ----------
    indptr
        int64 ``[users + 1]``.
    items
        int32 codes.
    sources
        int8: which source gave the item; 0 is the first one.
    """

    indptr: Int64
    items: Int32
    sources: Int8


def mix(ranked: list[Ranked], limit: int, n_items: int, banned: Any = None) -> Mixed:
    """Draw up to `limit` unique items a user: all of the first source, then of the others in turn.

    Parameters
    ----------
    banned
        CSR, users x items: what is stored is not drawn.

    Examples
    --------
    Of one user, whose own history (7, 5) comes first; then the two others take turns.

    >>> def ranked(*items: int) -> Ranked:
    ...     return Ranked(np.int64([0]), np.int64([len(items)]), np.int32(items), np.float32(items))
    >>> mixed = mix([ranked(7, 5), ranked(5, 1, 2), ranked(9, 1, 8)], limit=5, n_items=10)
    >>> mixed.items.tolist(), mixed.sources.tolist()
    ([7, 5, 1, 9, 2], [0, 0, 1, 2, 1])
    """
    users = len(ranked[0].start)
    shift = np.cumsum([0, *(len(source.items) for source in ranked)])
    start = np.stack([source.start + by for source, by in zip(ranked, shift, strict=False)])
    stop = np.stack([source.stop + by for source, by in zip(ranked, shift, strict=False)])
    pool = np.concatenate([source.items for source in ranked]).astype(np.int32)
    gone = csr_matrix((users, n_items), dtype=np.float32) if banned is None else banned
    indptr, indices = gone.indptr.astype(np.int64), gone.indices.astype(np.int32)
    return Mixed(*kernels.mix(start, stop, pool, indptr, indices, limit, n_items))


def nothing(users: int) -> Ranked:
    """A ranking without items."""
    start = np.zeros(users, np.int64)
    return Ranked(start, start, np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class Candidates:
    """Unique items of users, in the order of their sources.

    Attributes
    ----------
    indptr
        int64 ``[users + 1]``.
    items
        int32 codes.
    personal
        bool ``[users]``: something other than popularity gave a candidate.
    """

    indptr: Int64
    items: Int32
    personal: Bool

    @property
    def rows(self) -> Int64:
        """The position of the user of each candidate, int64 ``[len(items)]``."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


def candidates(
    view: View,
    retrieval: Retrieval,
    data: Dataset,
    users: Int32 | None,
    allowed: Bool | None = None,
) -> Candidates:
    """Find at most `data.candidates.limit` items for each user.

    Parameters
    ----------
    retrieval
        By the view's codes (`recommender.retrieval.align`).
    users
        int32 codes; None for all.
    allowed
        bool ``[items]``; None for what the catalogue lists.
    """
    users = np.arange(len(view.users), dtype=np.int32) if users is None else users
    allowed = view.listed if allowed is None else allowed
    config, width = data.candidates, len(view.items)
    seen = None if data.repeats else view.weights[users]
    wide = config.limit + (0 if seen is None else int(np.diff(seen.indptr).max(initial=0)))
    own = Own(view, allowed).rank(users, config.own) if data.repeats else nothing(len(users))
    ranked = [
        own,
        Als(view, retrieval, allowed, data.repeats).rank(users, config.limit),
        ItemItem(view, retrieval, allowed, data.repeats).rank(users, config.item_item)
        if config.item_item
        else nothing(len(users)),
        MostPopular(retrieval.popularity, allowed).rank(users, wide),
    ]
    mixed = mix(ranked, config.limit, width, seen)
    chosen = Candidates(mixed.indptr, mixed.items, np.zeros(len(users), bool))
    chosen.personal[chosen.rows[mixed.sources < len(ranked) - 1]] = True
    return chosen
