"""Judging contestants on one past label window: same users, same window, metrics with bootstrap intervals."""

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from lake.sections import EvaluationSection
from recommender.arrays import Float64, Int32
from recommender.logarithms import log2
from recommender.scoring import BASELINES
from training.labels import Truth
from training.metrics import Estimate, estimate, estimate_coverage, mean_over_list, means, per_user, resamples

CHALLENGER = "challenger"
CHAMPION = "champion"


def baselines(repeats: bool) -> tuple[str, ...]:
    """The baselines that apply; personal frequency does not where repeats are not recommended."""
    return tuple(name for name in BASELINES if repeats or name != "personal_frequency")


@dataclass(frozen=True)
class Field:
    """What contestants are compared on.

    Attributes
    ----------
    as_of
        The day whose lists are judged.
    users
        int32 [U]: codes of the users with a label in the window.
    truth
        The labels.
    item_users, item_users_lately
        float64 [items]: how many users bought the item ever, and in the popular window.
    known_users
        How many users there are as of that day.
    listed
        How many items lists may hold.
    """

    as_of: dt.date
    users: Int32
    truth: Truth
    item_users: Float64
    item_users_lately: Float64
    known_users: int
    listed: int


@dataclass(frozen=True)
class Score:
    """How one contestant did: an interval for each metric, and the mean popularity of its lists.

    Attributes
    ----------
    popularity
        Users of the popular window per listed item, mean over lists.
    """

    metrics: dict[str, Estimate]
    popularity: float


@dataclass(frozen=True)
class Evaluation:
    """All contestants on one label window.

    Attributes
    ----------
    scores
        By contestant.
    best_baseline
        The baseline with the highest NDCG; of equals the one named first in `BASELINES`.
    gains
        Paired difference in NDCG to the best baseline, of challenger and champion.
    churn
        The share of the challenger's items that the champion's lists lack; None without a champion.
    """

    as_of: dt.date
    users: int
    cut: int
    scores: dict[str, Score]
    best_baseline: str
    gains: dict[str, Estimate]
    churn: float | None

    def ndcg(self, name: str) -> float:
        """A contestant's mean NDCG."""
        return self.scores[name].metrics["ndcg"].value


def evaluate(
    field: Field, lists: Mapping[str, Int32], config: EvaluationSection, threads: int = 1
) -> Evaluation:
    """Compare contestants.

    Parameters
    ----------
    field
        Users and truth; at least one user.
    lists
        int32 [U, cut] item codes by contestant, -1 where a list is shorter. Baselines are those
        named in `BASELINES`, at least one.
    config
        Cut, draws and seed.
    threads
        How many contestants are scored side by side.
    """
    samples = resamples(len(field.users), config.draws, config.seed)
    with ThreadPoolExecutor(threads) as pool:
        vectors = dict(zip(lists, pool.map(partial(_vectors, field), lists.values()), strict=True))
        of_all = pool.map(partial(_score, field, samples), lists.values(), vectors.values())
        scores = dict(zip(lists, of_all, strict=True))
    best = max(
        (name for name in BASELINES if name in scores), key=lambda name: scores[name].metrics["ndcg"].value
    )
    gains = {
        name: estimate(vectors[name]["ndcg"] - vectors[best]["ndcg"], samples)
        for name in (CHALLENGER, CHAMPION)
        if name in lists
    }
    return Evaluation(field.as_of, len(field.users), config.cut, scores, best, gains, _churn(lists))


def _vectors(field: Field, lists: Int32) -> dict[str, Float64]:
    hits = field.truth.holds(field.users[:, None], lists)
    novelty = -log2(np.maximum(field.item_users, 1) / field.known_users)
    return per_user(hits, field.truth.counts[field.users]) | {"novelty": mean_over_list(lists, novelty)}


def _score(field: Field, samples: Int32, lists: Int32, vectors: Mapping[str, Float64]) -> Score:
    coverage = estimate_coverage(lists, samples, field.listed)
    popularity = float(mean_over_list(lists, field.item_users_lately).mean())
    return Score(means(vectors, samples) | {"coverage": coverage}, popularity)


def _churn(lists: Mapping[str, Int32]) -> float | None:
    if CHALLENGER not in lists or CHAMPION not in lists:
        return None
    new, old = lists[CHALLENGER], lists[CHAMPION]
    is_item = new >= 0
    kept = (new[:, :, None] == old[:, None, :]).any(axis=2)
    return float((is_item & ~kept).sum() / max(int(is_item.sum()), 1))
