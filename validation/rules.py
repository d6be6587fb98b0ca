"""The one table of row rules: what Spark sets aside, and what Great Expectations then checks of the rest.

A rule's `bad` is an SQL predicate over a row's cast columns, their words (the raw values as text, null
where none is given), its landed day, and its text where it was malformed. Where it holds, the
rule's name is one of the row's reasons. Its `expectation` is the converse, which Great Expectations
checks on staged rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from lake import patterns
from lake.dataset import Dataset
from lake.partitions import begin_sql
from lake.raw_sections import EventsSection, RawSection
from lake.rule_sections import ExcludeSection, RulesSection
from lake.schemas import (
    AMOUNT,
    EVENT_TS,
    EVENT_TYPE,
    INTERACTIONS,
    ITEM,
    LANDED,
    MALFORMED,
    QUANTITY,
    USER,
    WORDS,
)
from validation.gate import CRITICAL, Severity

LAG: Final = "days_late"
OUTSIDE: Final = "event_ts_outside_day"
DUPLICATE: Final = "exact_duplicate"
KEY_REPEATED: Final = "event_key_repeated"
CONFLICTING: Final = "event_key_conflicting"
BOT: Final = "user_id_busy"
RETURNED: Final = "purchase_returned"
RETURN_NETTED: Final = "return_netted"
REPEATED: Final = "item_id_repeated"

Kind = Literal["bad", "ignored", "excluded", "return", "rounded"]


@dataclass(frozen=True)
class Expectation:
    """What has to hold of staged rows, for Great Expectations.

    Attributes
    ----------
    name
        The name of its check.
    kind
        The class in `great_expectations.expectations`, without its leading ``Expect``.
    arguments
        The arguments of that class.
    where
        For each of some columns the values of the rows that it speaks of; empty for all rows.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = CRITICAL
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


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
        SQL predicate of the rows that break it.
    expectation
        What then holds of every staged row; None where the staged columns cannot show it.
    kind
        ``bad`` is a fault, and counts against the budget; ``ignored``, ``excluded`` and ``return`` are
        set aside and counted apart; ``rounded`` is counted and reported, and the row stays clean.
    alone
        Whether no other rule judges such a row: its columns mean nothing, or it is to be ignored.
    """

    name: str
    column: str
    bad: str
    expectation: Expectation | None = None
    kind: Kind = "bad"
    alone: bool = False


def _words(column: str) -> str:
    return f"{WORDS}.{column}"


def _missing(column: str) -> Rule:
    return Rule(f"{column}_missing", column, f"{_words(column)} IS NULL", not_null(column))


def _unreadable(column: str) -> Rule:
    bad = f"{_words(column)} IS NOT NULL AND {column} IS NULL"
    return Rule(f"{column}_unreadable", column, bad, not_null(column))


def _malformed() -> Rule:
    return Rule(MALFORMED, "", f"{MALFORMED} IS NOT NULL", alone=True)


def _id_rules(column: str, id_type: str, rules: RulesSection) -> tuple[Rule, ...]:
    """An id is there, readable, and stands for somebody."""
    listed = _set(text.lower() for text in rules.sentinels)
    word = f"lower({_words(column)})"
    sentinel = Rule(
        f"{column}_sentinel", column, f"{word} IN {listed} OR CAST({column} AS STRING) IN {listed}"
    )
    unreadable = _unreadable(column)
    unreadable = replace(unreadable, bad=f"{unreadable.bad} AND {word} NOT IN {listed}")
    common = (_missing(column), sentinel, unreadable)
    return common if id_type == "int64" else (*common, *_text_id_rules(column, rules))


def _text_id_rules(column: str, rules: RulesSection) -> tuple[Rule, ...]:
    """Texts that can be no key: too long, partly invisible, in quotes, or a whole number as a float."""
    bad = f"length({column}) > {rules.max_id_length} OR {column} RLIKE {_literal(_UNFIT)}"
    unfit = Rule(f"{column}_out_of_bounds", column, bad)
    twin = Rule(f"{column}_written_as_float", column, f"{column} RLIKE '{_FLOAT}'")
    return (unfit, twin) if rules.float_ids == "quarantine" else (unfit,)


# What nobody sees in an id, so that two look like one: control characters, letters without width and marks
# of direction; what is left of bytes that somebody could not decode; and what is no letter at all.
_UNSEEN: Final = (
    r"[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\x{e0000}-\x{e0fff}]"
)
# An id in quotes: somebody has quoted it twice, or has read it without knowing such quotes.
_QUOTES: Final = "[\"'`\u00ab\u00bb\u2018-\u201f]"
_UNFIT: Final = f"{_UNSEEN}|^{_QUOTES}(.*{_QUOTES})?$"
# 12.0, 1e+16, and 1.2345678E7, as Java writes doubles from ten millions on; 12e4 may be an id.
_FLOAT: Final = "^[+-]?[0-9]+([.]0+|[eE][+][0-9]+|[.][0-9]+[eE][+]?[0-9]+)$"


def _of_labels(rule: Rule, labels: tuple[str, ...]) -> Rule:
    """The same rule, for label events alone."""
    assert rule.expectation
    bad = f"{rule.bad} AND {EVENT_TYPE} IN {_set(labels)}"
    return replace(rule, bad=bad, expectation=replace(rule.expectation, where={EVENT_TYPE: labels}))


def _number_rules(column: str, rules: RulesSection, labels: tuple[str, ...]) -> tuple[Rule, ...]:
    """A number is readable, within its bound, no finer than its column, and given for events that are labels.

    Other events, such as views, often have none.
    """
    missing, unreadable = _of_labels(_missing(column), labels), _unreadable(column)
    highest = rules.max_quantity if column == QUANTITY else rules.max_amount
    inside = between(column, 0, highest)
    words, scale = _words(column), int(INTERACTIONS[column].rstrip(")").rpartition(",")[2])
    returns: Kind = "bad" if rules.returns == "fault" else "return"
    rounding: Kind = "rounded" if rules.rounding == "warn" else "bad"
    lost = f"{column} IS NOT NULL AND {words} RLIKE '[.][0-9]{{{scale}}}0*[1-9]'"
    return (
        missing,
        replace(unreadable, expectation=missing.expectation),
        # By its words: -0.004 is negative also where it rounds to 0.00.
        Rule(
            f"{column}_negative",
            column,
            f"{column} IS NOT NULL AND {words} RLIKE '^-.*[1-9]'",
            inside,
            returns,
        ),
        Rule(f"{column}_out_of_bounds", column, f"abs({column}) > {highest!r}", inside),
        Rule(f"{column}_rounded", column, lost, kind=rounding),
    )


def _outside(raw: RawSection, zone: str) -> Rule:
    start = begin_sql(f"date_sub({LANDED}, {raw.late_days})", zone)
    end = begin_sql(f"date_add({LANDED}, 1)", zone)
    bad = f"{EVENT_TS} < {start} OR {EVENT_TS} >= {end}"
    return Rule(OUTSIDE, EVENT_TS, bad, between(LAG, 0, raw.late_days))


def _ignored(events: EventsSection) -> tuple[Rule, ...]:
    bad = f"{EVENT_TYPE} IN {_set(events.ignore)}"
    rule = Rule("event_type_ignored", EVENT_TYPE, bad, kind="ignored", alone=True)
    return (rule,) if events.ignore else ()


def _excluded(column: str, exclude: ExcludeSection) -> tuple[Rule, ...]:
    """An id that is left out, as it is written or as ours: of integers it may be neither the same nor one."""
    ids, looks = exclude.of(column)
    forms = (_words(column), f"CAST({column} AS STRING)")
    tests = [f"{form} IN {_set(ids)}" for form in forms if ids]
    tests += [f"{form} RLIKE {_literal(patterns.whole(looks))}" for form in forms if looks]
    rule = Rule(f"{column}_excluded", column, " OR ".join(tests), kind="excluded", alone=True)
    return (rule,) if tests else ()


def _unknown(events: EventsSection) -> Rule:
    known = sorted(events.weights)
    arguments = {"column": EVENT_TYPE, "value_set": known}
    expected = Expectation("event_type_known", "ColumnValuesToBeInSet", arguments)
    return Rule("event_type_unknown", EVENT_TYPE, f"{EVENT_TYPE} NOT IN {_set(known)}", expected)


def _set(texts: Iterable[str]) -> str:
    """Texts as an SQL list; SQL has no empty one, so without texts it holds the empty text."""
    return "(" + (", ".join(_literal(text) for text in texts) or "''") + ")"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def row_rules(data: Dataset) -> tuple[Rule, ...]:
    """The rules of a data set's events, in the order of a row's reasons.

    A quantity of 0 is fine. A data set without quantities or amounts has no rule about them.
    """
    mapped = {QUANTITY: data.raw.columns.quantity, AMOUNT: data.raw.columns.amount}
    numbers = [column for column in mapped if mapped[column]]
    return (
        _malformed(),
        *_ignored(data.events),
        *_excluded(USER, data.rules.exclude),
        *_excluded(ITEM, data.rules.exclude),
        *_id_rules(USER, data.id_type, data.rules),
        *_id_rules(ITEM, data.id_type, data.rules),
        _missing(EVENT_TS),
        _unreadable(EVENT_TS),
        _outside(data.raw, data.zone),
        _unknown(data.events),
        *(rule for name in numbers for rule in _number_rules(name, data.rules, data.events.labels)),
    )


def item_rules(data: Dataset) -> tuple[Rule, ...]:
    """The rules of a catalogue's rows; whether items are repeated is judged over all rows."""
    return (_malformed(), *_excluded(ITEM, data.rules.exclude), *_id_rules(ITEM, data.id_type, data.rules))


def expectations_of(rules: Iterable[Rule]) -> list[Expectation]:
    """The expectations of rules, each once: two rules may share one, such as the ends of a bound."""
    return list({e.name: e for e in (rule.expectation for rule in rules) if e}.values())
