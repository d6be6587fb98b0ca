"""The Annoy index of the items: with the fewest trees that reach the required recall, or no index."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from annoy import AnnoyIndex

from lake.sections import IndexSection
from nightjar_reader import format as fmt
from precompute.similar import neighbours
from recommender.arrays import Float32, Int64
from topn import TopN

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """An index that was built, or why there is none.

    Attributes
    ----------
    index
        What the manifest says; None where the index is left out.
    warnings
        Why it is left out.
    latency_us
        Median microseconds of a query, for provenance.
    """

    index: fmt.IndexSummary | None
    warnings: tuple[str, ...] = ()
    latency_us: float = 0.0


def build(path: Path, units: Float32, config: IndexSection) -> Built:
    """Build the index into a file, with the first number of trees whose recall is enough.

    Recall is the share of the exact `recall_at` best other items of a query that the index finds. An
    item that scores as much as the last of these counts too.

    Parameters
    ----------
    path
        Where the index goes; no file is left there where recall stays below the floor.
    units
        float32 ``[items, f]``, rows of length 1.
    """
    codes = np.unique(np.linspace(0, len(units) - 1, config.queries).astype(np.int64))
    exact = neighbours(units, config.recall_at, of=codes)
    reached = 0.0
    for trees in config.trees:
        index = _plant(units, trees, config.seed)
        reached, latency = _measure(index, units, codes, exact, config)
        log.info("Annoy with %d trees: recall@%d %.4f", trees, config.recall_at, reached)
        if reached >= config.recall_floor:
            index.save(str(path))
            return Built(fmt.IndexSummary(trees, config.search_k, reached, path.stat().st_size), (), latency)
    too_low = (
        f"items.ann is left out: recall@{config.recall_at} is {reached:.4f} with {config.trees[-1]} trees, "
        f"expected at least {config.recall_floor}; readers search the factors exactly"
    )
    return Built(None, (too_low,))


def _plant(units: Float32, trees: int, seed: int) -> Any:
    index = AnnoyIndex(units.shape[1], "angular")
    index.set_seed(seed)
    for code, row in enumerate(units):
        index.add_item(code, row.tolist())
    index.build(trees, n_jobs=1)
    return index


def _measure(
    index: Any, units: Float32, codes: Int64, exact: TopN, config: IndexSection
) -> tuple[float, float]:
    """Recall over all queries, rounded to 6 digits, and the median microseconds of one."""
    scores = [exact.scores[a:b] for a, b in zip(exact.indptr[:-1], exact.indptr[1:], strict=True)]
    answers = [_search(index, units, config, *query) for query in zip(codes.tolist(), scores, strict=True)]
    total = sum(len(best) for best in scores)
    recalled = sum(hits for hits, _ in answers)
    recall = round(recalled / total, 6) if total else 1.0
    return recall, float(np.median([seconds for _, seconds in answers])) * 1e6


def _search(index: Any, units: Float32, config: IndexSection, code: int, best: Float32) -> tuple[int, float]:
    """How many of an item's exact neighbours the index finds, and the seconds it takes."""
    started = time.perf_counter()
    codes = np.array(index.get_nns_by_item(code, config.recall_at + 1, config.search_k), np.int64)
    seconds = time.perf_counter() - started
    others = codes[codes != code][: config.recall_at]
    return _hits(units, code, others, best), seconds


def _hits(units: Float32, code: int, others: Int64, best: Float32) -> int:
    """How many of the items found score at least as much as the last of the exact list."""
    if not len(best):
        return 0
    products = units[others].astype(np.float64) * units[code].astype(np.float64)
    return int((np.cumsum(products, axis=1)[:, -1].astype(np.float32) >= best[-1]).sum())
