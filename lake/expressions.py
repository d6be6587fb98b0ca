"""What a data set's TOML may say of a column: the name of a raw one, or an expression over the raw row.

A text is an expression where it begins with one of `FUNCTIONS` and its bracket and ends with a bracket, or
where one of ``* / + - ||`` stands between two blanks; any other text is a name, also ``Price (EUR)``. A name
in backticks is a name whatever it looks like.

An expression has pure functions of the row alone. `parse` makes its tree, `uses` says as what it reads each
column, and `spark_jobs/computed.py` makes SQL of it.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from lake.expression_tree import FUNCTIONS, NAMED, Call, Kind, Name, Node, Parameter, Value

LONGEST: Final = 1000
"""Letters of an expression."""
_MOST_COUNTED: Final = 1000
_TICKED: Final = re.compile("`((?:[^`]|``)+)`")
_OPERATOR: Final = re.compile(r"\s([*/+-]|\|\|)\s")
_CALL: Final = re.compile(rf"(?i)({'|'.join(NAMED)})\(.*\)", re.DOTALL)


def is_expression(text: str) -> bool:
    """Whether a text is an expression, and no name."""
    return not _TICKED.fullmatch(text) and bool(_OPERATOR.search(text) or _CALL.fullmatch(text))


def named(text: str) -> str:
    """The raw column that a name stands for; an expression as it is."""
    return text[1:-1].replace("``", "`") if _TICKED.fullmatch(text) else text


@cache
def parse(text: str) -> Node:
    """The tree of a name or an expression.

    Raises
    ------
    ValueError
        Where the text is an expression of anything but `LANGUAGE`, an argument is of the wrong kind, or
        there is no column in it.
    """
    if not is_expression(text):
        return Name(named(text))
    from lake import expression_parser  # the parser takes a sixth of a second to load

    if len(text) > LONGEST:
        raise ValueError(f"expected an expression of at most {LONGEST} letters, found {len(text)}")
    tree = expression_parser.parse(text)
    if kind(tree) == "condition":
        raise ValueError("expected a number or a text, found a condition; choose between two by if")
    if not columns(tree):
        raise ValueError("expected an expression of at least one column, found none")
    return tree


def kind(node: Node) -> Kind | None:
    """What an expression gives; None where that depends on what it is used for, as of a column."""
    if isinstance(node, Name):
        return None
    if isinstance(node, Value):
        return node.kind
    return FUNCTIONS[node.function].result or _common(_alike(node))


def _common(nodes: Sequence[Node]) -> Kind | None:
    """What nodes that have to be alike are: numbers where one is, else texts where one is."""
    kinds = [kind(node) for node in nodes]
    return next((each for each in ("condition", "number", "text") if each in kinds), None)


def _alike(call: Call) -> list[Node]:
    return [node for node, takes in zip(call.arguments, _takes(call), strict=True) if takes == "alike"]


def _takes(call: Call) -> tuple[Parameter, ...]:
    function, given = FUNCTIONS[call.function], len(call.arguments)
    more = (function.takes[-1],) * (given - len(function.takes)) if function.endless else ()
    takes = function.takes + more
    if not function.least <= given <= len(takes):
        most = "more" if function.endless else len(takes)
        number = function.least if most == function.least else f"{function.least} to {most}"
        raise ValueError(f"expected {number} arguments of {call.function}, found {given}")
    return takes[:given]


def arguments(call: Call, wanted: Kind) -> Iterator[tuple[Node, Kind]]:
    """The arguments of a call, each with what it is read as.

    Parameters
    ----------
    wanted
        What the call is read as, which decides for functions that give what they take.
    """
    same = (_common(call.arguments) or "text") if FUNCTIONS[call.function].result else wanted
    for node, takes in zip(call.arguments, _takes(call), strict=True):
        if takes == "count":
            _require_count(node, call)
        yield node, same if takes == "alike" else takes


def _require_count(node: Node, call: Call) -> None:
    digits = node.text if isinstance(node, Value) and node.kind == "number" else ""
    if not digits.isdecimal() or not 1 <= int(digits) <= _MOST_COUNTED:
        raise ValueError(f"expected a number from 1 to {_MOST_COUNTED} in {call.function}, written out")


def uses(node: Node, wanted: Kind) -> list[tuple[str, Kind]]:
    """The columns of an expression that is read as a kind, each with the kind that it is read as itself.

    Raises
    ------
    ValueError
        Where a part of it cannot be what it is read as. Numbers can be read as texts, and texts that are
        computed as numbers.
    """
    if isinstance(node, Name):
        if wanted == "condition":
            raise ValueError(
                f"expected a condition, found the column {node.column}; compare it, as in = 'yes'"
            )
        return [(node.column, wanted)]
    if isinstance(node, Value):
        if wanted not in (node.kind, "text", "count"):
            raise ValueError(f"expected a {wanted}, found the {node.kind} {node.text!r}")
        return []
    if (wanted == "condition") != (kind(node) == "condition"):
        raise ValueError(f"expected a {wanted}, found {node.function}, which gives a {kind(node) or 'text'}")
    return [use for part, read_as in arguments(node, wanted) for use in uses(part, read_as)]


def columns(node: Node) -> tuple[str, ...]:
    """The raw columns of a tree, each once, in their order."""
    return tuple(dict.fromkeys(column for column, _ in uses(node, kind(node) or "text")))


def read_as(target: str) -> Kind:
    """What an expression is read as that one of our types is made of."""
    return "number" if target.startswith("decimal") else "text"


def columns_of(text: str) -> tuple[str, ...]:
    """The raw columns that a name or an expression names."""
    return columns(parse(text))


def hint(names: Sequence[str]) -> str:
    """What to say of names that no file has, but that look like expressions; empty where none does."""
    odd = [name for name in names if re.search(r"[*/+|]|\w\(|\w-\w", name)]
    return (
        f" ({odd[0]} is read as a name: an expression has a blank on both sides of each operator, or begins "
        f"with one of the functions {', '.join(NAMED)})"
        if odd
        else ""
    )
