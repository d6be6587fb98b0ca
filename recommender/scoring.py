"""Lists from candidates: scored, ordered, filled up.

Every list is ordered by score descending, then item code (so item id) ascending, and filled up
with popular items below what was scored.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from lake.dataset import Dataset
from nightjar_reader import format as fmt
from recommender.arrays import Bool, Float32, Float64, Int8, Int32, Int64
from recommender.bundle import Bundle, mismatch
from recommender.candidates import (
    Als,
    Candidates,
    ItemItem,
    MostPopular,
    Own,
    Ranked,
    Source,
    best,
    candidates,
    mix,
)
from recommender.matrix import matrix
from recommender.retrieval import Retrieval, popularity
from recommender.view import View

BASELINES: Final = ("popularity", "personal_frequency", "als", "item_item")


@dataclass(frozen=True)
class Lists:
    """The items of users; those of the user at place ``u`` lie at ``indptr[u]:indptr[u + 1]``.

    Attributes
    ----------
    indptr
        int64 ``[users + 1]``.
    items
        int32 codes, score descending, then code ascending.
    scores
        float32, beside `items`.
    fallback
        int8 ``[users]``: 0 personal, 2 global.
    warnings
        Why the lists are not what the decision asked for.
    """

    indptr: Int64
    items: Int32
    scores: Float32
    fallback: Int8
    warnings: tuple[str, ...] = ()


def order(scores: Float32, chosen: Candidates, n: int) -> Lists:
    """The best `n` candidates of each user, score descending, then code ascending.

    Parameters
    ----------
    scores
        float32, one per candidate.
    """
    everything = np.ones(int(chosen.items.max(initial=-1)) + 1, bool)
    ranked = best(chosen.indptr, chosen.items, scores.astype(np.float32), everything, n)
    size = ranked.stop - ranked.start
    indptr = _ends(size)
    rows = np.arange(indptr[-1]) + np.repeat(ranked.start - indptr[:-1], size)
    fallback = np.where(chosen.personal, fmt.FALLBACK_PERSONAL, fmt.FALLBACK_GLOBAL).astype(np.int8)
    return Lists(indptr, ranked.items[rows], ranked.scores[rows], fallback)


def _ends(sizes: Int64) -> Int64:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def predict(booster: bytes, features: Float32) -> Float32:
    """The booster's scores, float32 ``[rows]``, by one thread."""
    import xgboost

    model = xgboost.Booster({"nthread": 1}, model_file=bytearray(booster))
    scores: Float32 = model.inplace_predict(features)
    return scores


@dataclass(frozen=True)
class ListMaker:
    """Makes lists for the users of a view, on one thread.

    Attributes
    ----------
    n
        How many items a user gets at most.
    allowed
        bool ``[items]``: what may be in a list, decided before candidates are cut.
    """

    view: View
    data: Dataset
    n: int
    allowed: Bool

    def personal(self, bundle: Bundle | None, retrieval: Retrieval | None) -> Lists:
        """Lists as the decision behind a bundle says.

        A booster scores candidates; a baseline is the named one; without either, and where the
        booster does not fit tonight's features, lists are by personal frequency where repeats are
        recommended, else by popularity.

        Parameters
        ----------
        bundle
            May be older than the view: users and items that it lacks get the other sources.
        retrieval
            The bundle's, by the view's codes; None without a bundle.
        """
        reason = mismatch(bundle, self.view.origin) if bundle and bundle.booster is not None else None
        if bundle is None or retrieval is None or reason is not None:
            return replace(self._untested(), warnings=(reason,) if reason else ())
        if bundle.booster is not None:
            return self.ranked(retrieval, [bundle.booster])[0]
        return self.baseline(bundle.baseline, retrieval) if bundle.baseline else self._untested()

    def _untested(self) -> Lists:
        return self.baseline("personal_frequency" if self.data.repeats else "popularity", None)

    def baseline(self, name: str, retrieval: Retrieval | None) -> Lists:
        """Lists of one source alone, filled up by popularity.

        Parameters
        ----------
        name
            One of `BASELINES`.
        retrieval
            By the view's codes; popularity and personal frequency do without.
        """
        if name == "popularity":
            return self._only_popular()
        return self._filled(self._source(name, retrieval).rank(self._users, self.n))

    def ranked(self, retrieval: Retrieval, boosters: Iterable[bytes]) -> list[Lists]:
        """Lists of each booster over the candidates of users, which are the same for all.

        Parameters
        ----------
        retrieval
            By the view's codes.
        boosters
            XGBoost's models in UBJSON, trained on `recommender.matrix.FEATURES`.
        """
        users = self._users
        chosen = candidates(self.view, retrieval, self.data, users, self.allowed)
        features = matrix(self.view, retrieval, users, chosen)
        return [self._ordered(predict(booster, features), chosen) for booster in boosters]

    def _ordered(self, scores: Float32, chosen: Candidates) -> Lists:
        ordered = order(scores, chosen, self.n)
        start, stop = ordered.indptr[:-1], ordered.indptr[1:]
        only_personal = np.where(chosen.personal, stop, start)
        return self._filled(Ranked(start, only_personal, ordered.items, ordered.scores))

    @property
    def _users(self) -> Int32:
        return np.arange(len(self.view.users), dtype=np.int32)

    def _source(self, name: str, retrieval: Retrieval | None) -> Source:
        if name == "personal_frequency" and self.data.repeats:
            return Own(self.view, self.allowed)
        if name not in ("als", "item_item") or retrieval is None:
            raise ValueError(
                f"no baseline {name!r}: one of {', '.join(BASELINES)}, personal frequency only "
                "where repeats are recommended, als and item_item only with a retrieval"
            )
        if name == "als":
            return Als(self.view, retrieval, self.allowed, self.data.repeats)
        return ItemItem(self.view, retrieval, self.allowed, self.data.repeats)

    def _seen(self) -> Any:
        return None if self.data.repeats else self.view.weights

    def _popular(self) -> Ranked:
        """Enough popular items that `n` are left whatever a user has seen, or has in the list above."""
        seen = self._seen()
        wide = self.n if seen is None else self.n + int(np.diff(seen.indptr).max(initial=0))
        return MostPopular(popularity(self.view), self.allowed).rank(self._users, wide)

    def _only_popular(self) -> Lists:
        mixed = mix([self._popular()], self.n, len(self.view.items), self._seen())
        scores = popularity(self.view)[mixed.items]
        fallback = np.full(len(self.view.users), fmt.FALLBACK_GLOBAL, np.int8)
        return Lists(mixed.indptr, mixed.items, scores, fallback)

    def _filled(self, ranked: Ranked) -> Lists:
        """A ranking with popular items below it: the k-th of them scores k less than min(0, lowest)."""
        mixed = mix([ranked, self._popular()], self.n, len(self.view.items), self._seen())
        owner = np.repeat(np.arange(len(self.view.users)), np.diff(mixed.indptr))
        place = np.arange(len(mixed.items)) - mixed.indptr[owner]
        size = ranked.stop - ranked.start
        beyond = place - size[owner] + 1
        scores = (_floor(ranked)[owner] - beyond).astype(np.float32)
        scored = beyond <= 0
        scores[scored] = ranked.scores[(ranked.start[owner] + place)[scored]]
        fallback = np.where(size > 0, fmt.FALLBACK_PERSONAL, fmt.FALLBACK_GLOBAL).astype(np.int8)
        items, scores = _in_order(owner, mixed.items, scores)
        return Lists(mixed.indptr, items, scores, fallback)


def _floor(ranked: Ranked) -> Float64:
    lowest = np.zeros(len(ranked.start))
    has_items = ranked.stop > ranked.start
    lowest[has_items] = np.minimum(ranked.scores[ranked.stop[has_items] - 1], 0)
    return lowest


def _in_order(owner: Int64, items: Int32, scores: Float32) -> tuple[Int32, Float32]:
    """Score descending, then code ascending: also where rounding made two filled scores equal."""
    rows = np.lexsort((items, -scores, owner))
    return items[rows], scores[rows]
