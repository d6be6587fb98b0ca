"""The one table of row rules: what Spark sets aside, and what Great Expectations then finds kept.

A rule's `bad` is an SQL predicate over a row's cast columns and its landed day; where it holds, the
rule's name is one of the row's reasons. Its `expectation` is the same rule, turned round, as Great
Expectations has to find it in what was staged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lake.schemas import AMOUNT, EVENT_TS, EVENT_TYPE, ITEM, LANDED, QUANTITY, USER
from lake.settings import Events, Raw
from validation.gate import CRITICAL, Severity

LAG: Final = "days_late"
DUPLICATE: Final = "exact_duplicate"


@dataclass(frozen=True)
class Expectation:
    """What Great Expectations has to find.

    Attributes
    ----------
    name
        The check that comes of it.
    kind
        The class in `great_expectations.expectations`, without its leading ``Expect``.
    arguments
        What it is made with.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = CRITICAL


def not_null(column: str, severity: Severity = CRITICAL) -> Expectation:
    """No value is missing."""
    return Expectation(f"{column}_present", "ColumnValuesToNotBeNull", {"column": column}, severity)


def between(column: str, low: float, high: float | None = None) -> Expectation:
    """Values that are there lie within bounds."""
    bounds = {"column": column, "min_value": low, "max_value": high}
    return Expectation(f"{column}_in_bounds", "ColumnValuesToBeBetween", bounds)


def unique(*columns: str) -> Expectation:
    """No two rows have the same key."""
    name = f"{'_'.join(columns)}_unique"
    if len(columns) == 1:
        return Expectation(name, "ColumnValuesToBeUnique", {"column": columns[0]})
    return Expectation(name, "CompoundColumnsToBeUnique", {"column_list": list(columns)})


@dataclass(frozen=True)
class Rule:
    """One row rule.

    Attributes
    ----------
    name
        The reason that a quarantined row carries.
    column
        The column of ours that it judges.
    bad
        SQL predicate of rows to set aside.
    expectation
        What then holds of every staged row.
    """

    name: str
    column: str
    bad: str
    expectation: Expectation


def _missing(column: str, name: str) -> Rule:
    return Rule(name, column, f"{column} IS NULL", not_null(column))


def _negative(column: str) -> Rule:
    return Rule(f"{column}_negative", column, f"{column} < 0", between(column, 0))


def _outside(raw: Raw) -> Rule:
    start, end = f"date_sub({LANDED}, {raw.late_days})", f"date_add({LANDED}, 1)"
    bad = f"{EVENT_TS} < CAST({start} AS TIMESTAMP) OR {EVENT_TS} >= CAST({end} AS TIMESTAMP)"
    return Rule("event_ts_outside_day", EVENT_TS, bad, between(LAG, 0, raw.late_days))


def _unknown(events: Events) -> Rule:
    known = sorted(events.weights)
    listed = ", ".join(_literal(name) for name in known)
    arguments = {"column": EVENT_TYPE, "value_set": known}
    expected = Expectation("event_type_known", "ColumnValuesToBeInSet", arguments)
    return Rule("event_type_unknown", EVENT_TYPE, f"{EVENT_TYPE} NOT IN ({listed})", expected)


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def row_rules(raw: Raw, events: Events) -> tuple[Rule, ...]:
    """The rules of a data set's rows, in the order in which reasons are told.

    A quantity of 0 is fine. A missing number is as bad as NaN: writers turn one into the other.
    A data set without quantities or amounts has no rule about them.
    """
    rules = (
        _missing(USER, "user_id_missing"),
        _missing(ITEM, "item_id_missing"),
        _missing(EVENT_TS, "event_ts_missing"),
        _outside(raw),
        _unknown(events),
        _missing(QUANTITY, "quantity_not_finite"),
        _negative(QUANTITY),
        _missing(AMOUNT, "amount_not_finite"),
        _negative(AMOUNT),
    )
    absent = {QUANTITY: raw.columns.quantity is None, AMOUNT: raw.columns.amount is None}
    return tuple(rule for rule in rules if not absent.get(rule.column))
