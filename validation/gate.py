"""The gate: critical checks stop, warnings are reported."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from lake.errors import GateFailed

log = logging.getLogger(__name__)

Severity = Literal["critical", "warning"]
CRITICAL: Final = "critical"
WARNING: Final = "warning"


@dataclass(frozen=True)
class Check:
    """The result of one rule.

    Attributes
    ----------
    name
        The rule, with the table or day that it judged.
    severity
        ``critical`` stops the stage, ``warning`` is reported only.
    passed
        Whether it held.
    found, expected
        In words and numbers.
    """

    name: str
    severity: Severity
    passed: bool
    found: str
    expected: str


def failed(checks: Iterable[Check]) -> list[Check]:
    """The critical checks that did not pass."""
    return [check for check in checks if check.severity == CRITICAL and not check.passed]


def require(checks: Iterable[Check], what: str = "the gate", report: str = "") -> None:
    """Refuse what fails a critical check, and log each warning that did not pass.

    Parameters
    ----------
    what
        What was checked, such as ``ingest of 2017-09-30``.
    report
        Where the report lies.

    Raises
    ------
    GateFailed
        Naming each failed critical check.
    """
    checks = list(checks)
    for check in checks:
        if check.severity == WARNING and not check.passed:
            log.warning("%s: %s: expected %s, found %s", what, check.name, check.expected, check.found)
    stopped = failed(checks)
    if stopped:
        faults = "; ".join(f"{c.name}: expected {c.expected}, found {c.found}" for c in stopped)
        page = f"; the report is {report}" if report else ""
        raise GateFailed(f"{what} was refused: {faults}. Nothing was committed{page}")
