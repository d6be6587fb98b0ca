"""The gate between models: a pure function from an evaluation to the night's decision.

The gate is the same for every data set and every slice of one: too few users mean *untested*,
never a looser comparison.
"""

from dataclasses import dataclass

from training.evaluation import CHALLENGER, CHAMPION, Evaluation, Score

PROMOTED = "promoted"
KEPT = "kept"
BASELINE = "baseline"
UNTESTED = "untested"
FAILED = "failed"

CHAMPION_SHARE = 0.99
COVERAGE_SHARE = 0.5
POPULARITY_FACTOR = 2.0


@dataclass(frozen=True)
class Check:
    """One condition of promotion: what was found, and the bound that it had to keep."""

    name: str
    passed: bool
    found: float
    bound: float


@dataclass(frozen=True)
class Decision:
    """What lists follow.

    Attributes
    ----------
    outcome
        promoted, kept, baseline or untested.
    baseline
        The best baseline where the outcome is *baseline*, else None.
    reasons
        Sentences for people.
    checks
        The conditions of promotion, in the order in which they are asked.
    """

    outcome: str
    baseline: str | None = None
    reasons: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


def decide(evaluation: Evaluation | None, min_users: int, why_untested: str = "") -> Decision:
    """Promote the challenger, keep the champion, or fall back to the best baseline.

    Parameters
    ----------
    evaluation
        None where there was too little history to train or to evaluate.
    min_users
        Fewer evaluated users than this prove nothing.
    why_untested
        What was missing, where there is no evaluation.
    """
    if evaluation is None or CHALLENGER not in evaluation.scores:
        return Decision(UNTESTED, reasons=(why_untested or "there is no challenger",))
    if evaluation.users < min_users:
        return Decision(UNTESTED, reasons=(f"{evaluation.users} users evaluated, {min_users} are needed",))
    checks = _checks(evaluation)
    failed = tuple(_sentence(check) for check in checks if not check.passed)
    if not failed:
        return Decision(PROMOTED, reasons=("every condition of promotion holds",), checks=checks)
    if _champion_stands(evaluation):
        return Decision(KEPT, reasons=failed, checks=checks)
    return Decision(BASELINE, evaluation.best_baseline, failed, checks)


def _checks(evaluation: Evaluation) -> tuple[Check, ...]:
    challenger = evaluation.scores[CHALLENGER]
    best = evaluation.scores[evaluation.best_baseline]
    beaten = evaluation.ndcg(evaluation.best_baseline)
    ndcg = evaluation.ndcg(CHALLENGER)
    checks = [Check(f"ndcg above {evaluation.best_baseline}", ndcg > beaten, ndcg, beaten)]
    if CHAMPION in evaluation.scores:
        bound = CHAMPION_SHARE * evaluation.ndcg(CHAMPION)
        checks.append(Check("ndcg near the champion's", ndcg >= bound, ndcg, bound))
    return (*checks, *_guards(challenger, best))


def _guards(challenger: Score, best: Score) -> tuple[Check, Check]:
    coverage = challenger.metrics["coverage"].value
    least = COVERAGE_SHARE * best.metrics["coverage"].value
    most = POPULARITY_FACTOR * best.popularity
    return (
        Check("item coverage", coverage >= least, coverage, least),
        Check("popularity of lists", challenger.popularity <= most, challenger.popularity, most),
    )


def _champion_stands(evaluation: Evaluation) -> bool:
    return CHAMPION in evaluation.scores and evaluation.gains[CHAMPION].high >= 0


def _sentence(check: Check) -> str:
    return f"{check.name}: {check.found:.4f} against the bound {check.bound:.4f}"
