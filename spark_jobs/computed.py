"""SQL of the expressions over a raw row (`lake.expressions`): exact, and null where a value cannot be told.

Numbers are decimals of `NUMBER`; each step is rounded half up to its eleven decimals, and is null beyond its
thirteen digits before them, as is a division by 0. They are read of raw columns as `spark_jobs.casts` reads
quantities and amounts, so by the marks of the files. An operand that is missing or unreadable makes the
result null, and so a condition that nobody can tell the choice by it. No row ends a job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lake.expression_tree import FUNCTIONS, Kind, Name, Node, Value
from lake.expressions import arguments, columns
from lake.formats.dialect import RFC_4180, CsvSection
from lake.formats.families import NOTHING, TEXT
from spark_jobs.casts import BLANKS, expression, literal, normalized, quoted, rule

NUMBER: Final = "decimal(24,11)"
"""Of two such numbers Spark has the product with all of these digits: its decimals have 38."""

# How stamps of Arrow's types are spelled, so that they can be read as text again.
_STAMPS: Final = {
    "instant": "CAST({x} AS STRING) || 'Z'",
    "instant_ns": "CAST(timestamp_micros({x} DIV 1000) AS STRING) || 'Z'",
    "local": "CAST({x} AS STRING)",
    "local_ns": "CAST(timestamp_micros({x} DIV 1000) AS STRING)",
    "date": "CAST({x} AS STRING)",
}
_CHOICE: Final = "CASE WHEN {0} THEN {1} WHEN NOT ({0}) THEN {2} END"
_TEMPLATES: Final = {
    "*": "try_multiply({0}, {1})",
    "/": "try_divide({0}, {1})",
    "+": "try_add({0}, {1})",
    "-": "try_subtract({0}, {1})",
    **{sign: f"({{0}} {sign} {{1}})" for sign in ("=", "<>", "<", "<=", ">", ">=", "and", "or")},
    "not": "(NOT {0})",
    "is null": "({0} IS NULL)",
    "trim": f"btrim({{0}}, '{BLANKS}')",
    "if": _CHOICE,
}
"""The functions that are not Spark's own of the same name."""


@dataclass(frozen=True)
class RawValues:
    """The raw columns that an expression may name.

    Attributes
    ----------
    row
        The struct that holds them.
    families
        The family of each; one that is not there is null in each row.
    """

    row: str
    families: Mapping[str, str]
    csv: CsvSection = RFC_4180

    def sql(self, node: Node, wanted: Kind) -> str:
        """SQL of an expression that is read as a kind."""
        if isinstance(node, Name):
            return self._column(node.column, wanted)
        if isinstance(node, Value):
            return _written(node, wanted)
        given = [self.sql(part, read_as) for part, read_as in arguments(node, wanted)]
        template = _TEMPLATES.get(node.function, f"{node.function}({', '.join(given)})")
        return self._as_wanted(template.format(*given), FUNCTIONS[node.function].result, wanted)

    def told(self, node: Node) -> str:
        """SQL of the columns that an expression names as text, null where one is missing."""
        each = [normalized(self._value(column), "string", self._family(column)) for column in columns(node)]
        given = " AND ".join(f"{text} IS NOT NULL" for text in each)
        return f"CASE WHEN {given} THEN concat_ws(' ', {', '.join(each)}) END"

    def _family(self, column: str) -> str:
        return self.families.get(column, NOTHING)

    def _value(self, column: str) -> str:
        return f"{self.row}.{quoted(column)}" if column in self.families else "NULL"

    def _column(self, column: str, wanted: Kind) -> str:
        value, family = self._value(column), self._family(column)
        if wanted == "number":
            return self._number(value, _of_numbers(family))
        if family in _STAMPS:
            return f"({_STAMPS[family].format(x=value)})"
        return expression(value, "string", family, "string", "UTC")

    def _number(self, value: str, family: str) -> str:
        return expression(value, NUMBER, family, "", "", normalized(value, NUMBER, family, self.csv))

    def _as_wanted(self, made: str, kind: Kind | None, wanted: Kind) -> str:
        """What a function makes, as what it is read as."""
        number = f"TRY_CAST({made} AS {NUMBER})"
        if kind == "number":
            return (
                number if wanted == "number" else f"regexp_replace(CAST({number} AS STRING), '[.]?0+$', '')"
            )
        return self._number(f"({made})", TEXT) if kind == "text" and wanted == "number" else made


def _written(value: Value, wanted: Kind) -> str:
    """SQL of what an expression writes out."""
    if wanted == "number":
        return f"CAST('{value.text}' AS {NUMBER})"
    return value.text if wanted == "count" else literal(value.text)


def _of_numbers(family: str) -> str:
    """The family as which numbers are read: texts of any format hold them in expressions."""
    return TEXT if family == "string" else family


def readable(family: str, wanted: Kind) -> bool:
    """Whether a raw column of a family can be an operand that is read as a kind."""
    if wanted == "number":
        return rule(NUMBER, _of_numbers(family), "") is not None
    return family in _STAMPS or rule("string", family, "") is not None
