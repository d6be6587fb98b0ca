"""The tree of an expression over the raw row: its parts, and the functions and operators that there are."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["number", "text", "condition", "count"]
"""What a part of an expression is read as; a count is a whole number that is written out."""
Parameter: TypeAlias = Kind | Literal["alike"]
"""What an argument has to be."""


@dataclass(frozen=True)
class Name:
    """A raw column, or a path that leads to one."""

    column: str


@dataclass(frozen=True)
class Value:
    """A number, by its plain digits, or a text."""

    text: str
    kind: Kind


@dataclass(frozen=True)
class Call:
    """A function or an operator of `FUNCTIONS`, with its arguments."""

    function: str
    arguments: "tuple[Node, ...]"


Node: TypeAlias = Name | Value | Call


@dataclass(frozen=True)
class Function:
    """What a function makes of what.

    Attributes
    ----------
    result
        What it gives; None where that is what its `alike` arguments are.
    takes
        Of each argument what it has to be; ``alike`` arguments are all of one kind.
    least
        How many arguments it needs.
    endless
        Whether the last may repeat.
    """

    result: Kind | None
    takes: tuple[Parameter, ...]
    least: int
    endless: bool = False


def _function(result: Kind | None, *takes: Parameter, least: int = 0, endless: bool = False) -> Function:
    return Function(result, takes, least or len(takes), endless)


_NUMBERS: Final = _function("number", "number", "number")
_COMPARED: Final = _function("condition", "alike", "alike")
_ORDERED: Final = _function("condition", "number", "number")
_JOINED: Final = _function("condition", "condition", "condition")
OPERATORS: Final = {
    **dict.fromkeys("*/+-", _NUMBERS),
    **dict.fromkeys(("=", "<>"), _COMPARED),
    **dict.fromkeys(("<", "<=", ">", ">="), _ORDERED),
    **dict.fromkeys(("and", "or"), _JOINED),
    "not": _function("condition", "condition"),
    "is null": _function("condition", "text"),
}
"""What stands between operands, or before or behind one."""
NAMED: Final = {
    **dict.fromkeys(("upper", "lower", "trim"), _function("text", "text")),
    **dict.fromkeys(("left", "right"), _function("text", "text", "count")),
    "substring": _function("text", "text", "count", "count", least=2),
    "split_part": _function("text", "text", "text", "count"),
    "lpad": _function("text", "text", "count", "text"),
    "replace": _function("text", "text", "text", "text"),
    "concat": _function("text", "text", least=2, endless=True),
    **dict.fromkeys(("abs", "floor", "ceil"), _function("number", "number")),
    "round": _function("number", "number", "count", least=1),
    "coalesce": _function(None, "alike", least=2, endless=True),
    "if": _function(None, "condition", "alike", "alike"),
}
"""What is called by its name."""
FUNCTIONS: Final = {**OPERATORS, **NAMED}
LANGUAGE: Final = (
    "columns, numbers, texts in quotes, the operators * / + - || = <> < <= > >= and or not is in, and the "
    f"functions {', '.join(NAMED)}"
)
"""What expressions are made of."""
