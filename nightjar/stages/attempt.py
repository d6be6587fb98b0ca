"""One attempt of a stage, whichever it is: its plan is written, worked on, judged and committed."""

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from lake import layout, messages
from lake.errors import Conflict, FileFault, GateFailed, PermanentError
from lake.lake import Lake
from lake.partitions import stamp
from lake.plan import Plan
from lake.records import Record
from nightjar.stages.stage import Checks, Stage
from validation.gate import Check, require

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Plan)
M = TypeVar("M")

_SHOWN_DAYS = 10  # a bootstrap may refuse a year of days: more lines would bury the error


def begin(lake: Lake, stage: Stage[P, M], days: Sequence[dt.date]) -> str:
    """Write the plan of a new attempt, and before it the mark that tells when it began.

    Returns
    -------
    str
        The attempt.
    """
    plan = stage.plan(lake, days)
    _require_declared(stage, plan)
    lake.storage.put_new(layout.begun(plan.attempt), stamp().encode())
    messages.write(lake.storage, layout.plan(plan.attempt), plan)
    return plan.attempt


def _require_declared(stage: Stage[P, M], plan: P) -> None:
    """Refuse a plan that pins a table which the stage's `READS` do not name, such as a quarantine."""
    if unknown := {pin.name for pin in plan.inputs} - set(stage.READS):
        raise PermanentError(f"{stage.NAME} of {plan.day} pins {sorted(unknown)}: its READS name none of it")


def work(lake: Lake, stage: Stage[P, M], attempt: str) -> None:
    """Run an attempt's plan in this process, and put what it made beside the plan."""
    if lake.storage.exists(layout.result(attempt)):
        log.info("attempt %s has been worked on already", attempt)
        return
    made = stage.run(lake, read_plan(lake, stage, attempt))
    messages.write(lake.storage, layout.result(attempt), made)


def read_plan(lake: Lake, stage: Stage[P, M], attempt: str) -> P:
    """The plan of an attempt.

    Raises
    ------
    PermanentError
        When there is none: it was never written, or removed since.
    """
    plan: P = _read(lake, stage, layout.plan(attempt), f"attempt {attempt} has no plan", stage.PLAN)
    return plan


def read_made(lake: Lake, stage: Stage[P, M], attempt: str) -> M:
    """What an attempt made.

    Raises
    ------
    PermanentError
        When its work did not end, or its result was removed since.
    """
    made: M = _read(lake, stage, layout.result(attempt), f"attempt {attempt} left no result", stage.MADE)
    return made


def _read(lake: Lake, stage: Stage[P, M], path: str, lacking: str, kind: type[Any]) -> Any:
    try:
        return messages.read(lake.storage, path, kind)
    except FileNotFoundError as error:
        raise PermanentError(
            f"{lacking}: expected {lake.storage.uri(path)}, found no such file; "
            f"run {stage.NAME} again, which begins a new attempt"
        ) from error


def commit(lake: Lake, stage: Stage[P, M], attempt: str) -> list[Record]:
    """Judge what an attempt made, write the report, and make it current.

    Returns
    -------
    list of Record
        That of each partition, oldest first.

    Raises
    ------
    FileFault, GateFailed, Conflict
        Names each partition that was refused, or that another run has committed with other content
        meanwhile; a `PermanentError` when these reasons differ. All other partitions are committed.
        A `WHOLE` stage commits nothing where one is refused, and keeps another run's record of an
        earlier partition.
    """
    plan, made = read_plan(lake, stage, attempt), read_made(lake, stage, attempt)
    checks = stage.check(lake, plan, made)
    common = stage.check_all(lake, plan, made)
    report = _report(lake, stage, plan, made, checks, common)
    require(common, f"{stage.NAME} of {min(checks)} to {max(checks)}", report)
    if stage.WHOLE:
        for day in checks:
            stage.require(lake, plan, day, checks[day], report)
    records, refusals = _commit_each(lake, stage, plan, made, checks, report)
    if len(checks) > 1:
        log.info("%s: committed %d partitions of %d", stage.NAME, len(records), len(checks))
    if records:
        log.info("%s", stage.describe(records))
    _raise(refusals)
    return records


def _commit_each(
    lake: Lake, stage: Stage[P, M], plan: P, made: M, checks: Checks, report: str
) -> tuple[list[Record], dict[dt.date, PermanentError]]:
    """The records of what was committed, and why the rest was not."""
    records: list[Record] = []
    refusals: dict[dt.date, PermanentError] = {}
    for day in checks:
        try:
            if not stage.WHOLE:
                stage.require(lake, plan, day, checks[day], report)
            stage.put(lake, plan, made)
            record = lake.records.commit(stage.draft(plan, made, day), plan.based_on[day])
            records.append(record)
            stage.follow(lake, plan, record)
        except (FileFault, GateFailed, Conflict) as error:
            if stage.WHOLE and day < plan.day:
                log.warning("%s; the record that is there stays", error)
            else:
                refusals[day] = error
    return records, refusals


def _report(lake: Lake, stage: Stage[P, M], plan: P, made: M, checks: Checks, common: Sequence[Check]) -> str:
    """Write the report of an attempt and return its address; empty where nothing was checked."""
    from validation import report

    all_checks = [*common, *(check for of_day in checks.values() for check in of_day)]
    if not all_checks:
        return ""
    first, last = min(checks), max(checks)
    name = f"{last}" if stage.WHOLE or first == last else f"{first}_{last}"
    return report.write(lake.storage, stage.NAME, name, plan.attempt, all_checks, stage.counts(plan, made))


def _raise(refusals: dict[dt.date, PermanentError]) -> None:
    """Raise one error for all refusals: of their kind where they share one, else a `PermanentError`."""
    kinds = {type(error) for error in refusals.values()}
    if kinds:
        kind = kinds.pop() if len(kinds) == 1 else PermanentError
        raise kind(list_faults({day: f"{error}" for day, error in refusals.items()}))


def list_faults(faults: dict[dt.date, str]) -> str:
    """A line for each faulty day; of more than `_SHOWN_DAYS` the later ones by their dates only."""
    lines, rest = list(faults.values())[:_SHOWN_DAYS], list(faults)[_SHOWN_DAYS:]
    more = [f"... and {len(rest)} more: {', '.join(map(str, rest))}"] if rest else []
    return "\n".join(lines + more)
