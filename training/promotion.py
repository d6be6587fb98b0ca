"""The gate between models: a pure function from an evaluation to the night's verdict.

The gate is the same for every data set and every slice of one: too few users mean *untested*,
never a looser comparison.
"""

from lake.dataset import Dataset
from lake.decisions import Condition, Outcome, Verdict
from lake.sections import PromotionSection
from training.evaluation import CHALLENGER, CHAMPION, Evaluation


def judge(evaluation: Evaluation | None, data: Dataset, why_untested: str = "") -> Verdict:
    """Promote the challenger, keep the champion, or fall back to the best baseline.

    Parameters
    ----------
    evaluation
        None where there was too little history to train or to evaluate.
    data
        Its `promotion` says what a challenger must reach, its `evaluation` how many users prove something.
    why_untested
        What was missing, where there is no evaluation.
    """
    if evaluation is None or CHALLENGER not in evaluation.scores:
        return Verdict(Outcome.UNTESTED, reasons=(why_untested or "there is no challenger",))
    if evaluation.users < (needed := data.evaluation.min_users):
        reason = f"{evaluation.users} users evaluated, {needed} are needed"
        return Verdict(Outcome.UNTESTED, reasons=(reason,))
    checks = _checks(evaluation, data.promotion)
    failed = tuple(_sentence(check) for check in checks if not check.passed)
    if not failed:
        return Verdict(Outcome.PROMOTED, reasons=("every condition of promotion holds",), checks=checks)
    if CHAMPION in evaluation.scores and evaluation.gains[CHAMPION].high >= 0:
        return Verdict(Outcome.KEPT, reasons=failed, checks=checks)
    return Verdict(Outcome.BASELINE, evaluation.best_baseline, failed, checks)


def _checks(evaluation: Evaluation, config: PromotionSection) -> tuple[Condition, ...]:
    challenger, best = (evaluation.scores[name] for name in (CHALLENGER, evaluation.best_baseline))
    beaten = evaluation.ndcg(evaluation.best_baseline)
    ndcg = evaluation.ndcg(CHALLENGER)
    checks = [Condition(f"ndcg above {evaluation.best_baseline}", ndcg > beaten, ndcg, beaten)]
    if CHAMPION in evaluation.scores:
        bound = config.champion_share * evaluation.ndcg(CHAMPION)
        checks.append(Condition("ndcg near the champion's", ndcg >= bound, ndcg, bound))
    coverage = challenger.metrics["coverage"].value
    least = config.coverage_share * best.metrics["coverage"].value
    most = config.popularity_factor * best.popularity
    return (
        *checks,
        Condition("item coverage", coverage >= least, coverage, least),
        Condition("popularity of lists", challenger.popularity <= most, challenger.popularity, most),
    )


def _sentence(check: Condition) -> str:
    return f"{check.name}: {check.found:.4f} against the bound {check.bound:.4f}"
