"""Fitting the ranker: XGBoost on the ranking sets of several snapshots."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lake.sections import RankerSection
from training.set_files import RankingSet

if TYPE_CHECKING:
    import xgboost

log = logging.getLogger(__name__)

REPORT_EVERY = 30  # rounds: four lines of log at the default of 120
PAIRS_PER_SAMPLE = 15
"""How many places of a user's list `rank:ndcg` sets in order at a time: a little more than are judged."""


def load() -> None:
    """Import XGBoost; the first time it takes a second."""
    import xgboost  # noqa: F401


def quantised(
    parts: Callable[[], Iterator[RankingSet]],
    config: RankerSection,
    threads: int,
    disk: Path | None = None,
) -> "xgboost.DMatrix":
    """Quantise the rows for `train`; how they are cut into parts changes nothing.

    XGBoost goes over the parts several times, and holds one of them at a time.

    Parameters
    ----------
    parts
        Begins the parts anew. Each has a row at least; groups ascend within a part, and of one snapshot
        none is in two parts.
    config
        ``binary:logistic`` uses the row weights, ``rank:ndcg`` the groups.
    disk
        A folder for the quantised rows, from which they are read in each round; None to hold them in
        memory. The booster is the same.
    """
    import xgboost

    ranked = config.objective == "rank:ndcg"

    class Parts(xgboost.DataIter):
        def __init__(self) -> None:
            self.reset()
            super().__init__(cache_prefix=str(disk / "quantised") if disk else None)

        def reset(self) -> None:
            self.left = parts()

        def next(self, input_data: Any) -> bool:
            for part in self.left:
                grouping = {"qid": part.groups} if ranked else {"weight": part.weights}
                input_data(data=part.features, label=part.labels, **grouping)
                return True
            return False

    kind = xgboost.ExtMemQuantileDMatrix if disk else xgboost.QuantileDMatrix
    return kind(Parts(), nthread=threads)


def train(matrix: "xgboost.DMatrix", config: RankerSection, threads: int) -> "xgboost.Booster":
    """Fit a booster; same rows and configuration, same bytes, with any number of threads."""
    import xgboost

    report = _report(xgboost, config.rounds)
    return xgboost.train(
        parameters(config, threads), matrix, num_boost_round=config.rounds, callbacks=[report]
    )


def parameters(config: RankerSection, threads: int) -> dict[str, Any]:
    """XGBoost's parameters."""
    chosen: dict[str, Any] = {
        "objective": config.objective,
        "tree_method": "hist",
        "eta": config.eta,
        "max_depth": config.max_depth,
        "min_child_weight": config.min_child_weight,
        "subsample": config.subsample,
        "colsample_bytree": config.colsample_bytree,
        "seed": config.seed,
        "nthread": threads,
        "verbosity": 1,
    }
    if config.objective == "rank:ndcg":
        chosen |= {"lambdarank_pair_method": "topk", "lambdarank_num_pair_per_sample": PAIRS_PER_SAMPLE}
    return chosen


def _report(xgboost: Any, rounds: int) -> Any:
    class Report(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if (epoch + 1) % REPORT_EVERY == 0:
                log.info("ranker: round %d of %d", epoch + 1, rounds)
            return False

    return Report()
