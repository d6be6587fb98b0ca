"""Fitting the ranker: XGBoost on the ranking sets of several snapshots."""

import logging
from typing import TYPE_CHECKING, Any

from lake.settings import Ranker
from training.sets import RankingSet

if TYPE_CHECKING:
    import xgboost

log = logging.getLogger(__name__)

REPORT_EVERY = 30
PAIRS_PER_SAMPLE = 15


def train(rows: RankingSet, config: Ranker, threads: int) -> "xgboost.Booster":
    """Fit a booster; same rows and configuration, same bytes, with any number of threads.

    Parameters
    ----------
    rows
        At least one row; groups ascend.
    config
        ``binary:logistic`` uses the row weights, ``rank:ndcg`` the groups.
    """
    import xgboost

    ranked = config.objective == "rank:ndcg"
    grouping = {"qid": rows.groups} if ranked else {"weight": rows.weights}
    matrix = xgboost.QuantileDMatrix(rows.features, label=rows.labels, nthread=threads, **grouping)
    report = _report(xgboost, config.rounds)
    return xgboost.train(
        parameters(config, threads), matrix, num_boost_round=config.rounds, callbacks=[report]
    )


def parameters(config: Ranker, threads: int) -> dict[str, Any]:
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
