"""Reads the text of an expression by sqlglot; kept apart, so that only data sets with expressions load it."""

import re
from collections.abc import Sequence
from typing import ClassVar, Final

from sqlglot import exp, parse_one
from sqlglot.dialects.spark import Spark
from sqlglot.errors import SqlglotError
from sqlglot.parsers.spark import SparkParser

from lake.expression_tree import LANGUAGE, NAMED, Call, Name, Node, Value

_BINARY: Final = {
    "mul": "*",
    "div": "/",
    "add": "+",
    "sub": "-",
    "dpipe": "concat",
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "and": "and",
    "or": "or",
}
"""The operators, by the names that sqlglot has for them."""
_DIGITS: Final = re.compile("[0-9]{1,13}([.][0-9]{0,11})?")


class _Row(Spark):
    """SQL of Spark whose functions are names with arguments: `NAMED` alone says which there are."""

    class Tokenizer(Spark.Tokenizer):
        STRING_ESCAPES: ClassVar = ["\\", "'"]

    class Parser(SparkParser):
        FUNCTIONS: ClassVar = {}
        FUNCTION_PARSERS: ClassVar = {}
        NO_PAREN_FUNCTIONS: ClassVar = {}
        NO_PAREN_FUNCTION_PARSERS: ClassVar = {}


def parse(text: str) -> Node:
    """The tree of an expression, whose kinds nobody has checked.

    Raises
    ------
    ValueError
        Where it is none, or has anything in it but `LANGUAGE`.
    """
    try:
        tree = parse_one(text, dialect=_Row)
        if any(part.comments for part in tree.walk()):
            raise _unknown("a comment")
        return _node(tree)
    except SqlglotError as error:
        raise _unknown(_place(error)) from None
    except RecursionError:
        raise ValueError("expected an expression of few levels, found hundreds") from None


def _place(error: SqlglotError) -> str:
    details = getattr(error, "errors", None) or [{}]
    return f"{details[0].get('highlight') or 'its end'!r} where something else should be"


def _unknown(found: str) -> ValueError:
    return ValueError(
        f"expected an expression of {LANGUAGE}, found {found}; "
        "write a name that is no plain word in backticks"
    )


def _node(part: exp.Expr) -> Node:
    """A part of what sqlglot has read, if it is one of ours."""
    if isinstance(part, exp.Paren):
        return _node(part.this)
    if isinstance(part, exp.Column | exp.Dot):
        return _name(part)
    if isinstance(part, exp.Literal):
        return _value(part)
    if isinstance(part, exp.Anonymous):
        return _call(part)
    return _operation(part)


def _name(part: exp.Column | exp.Dot) -> Name:
    """A column; dots lead into objects."""
    if not all(isinstance(name, exp.Identifier) for name in part.parts):
        raise _unknown(part.sql())
    return Name(".".join(name.name for name in part.parts))


def _value(part: exp.Literal) -> Value:
    if not part.is_string and not _DIGITS.fullmatch(part.name):
        raise ValueError(f"expected a number of at most 13 digits and 11 decimals, found {part.name}")
    return Value(part.name, "text" if part.is_string else "number")


def _call(part: exp.Anonymous) -> Call:
    name = str(part.this).lower()
    if name not in NAMED:
        raise _unknown(f"the function {part.this}")
    return Call(name, _nodes(part.expressions))


def _nodes(parts: Sequence[exp.Expr]) -> tuple[Node, ...]:
    return tuple(map(_node, parts))


def _operation(part: exp.Expr) -> Node:
    if operator := _BINARY.get(part.key):
        return Call(operator, _nodes([part.this, part.expression]))
    if isinstance(part, exp.Neg):
        return Call("-", (Value("0", "number"), _node(part.this)))
    if isinstance(part, exp.Not):
        return Call("not", (_node(part.this),))
    if isinstance(part, exp.Is) and isinstance(part.expression, exp.Null):
        return Call("is null", (_node(part.this),))
    if isinstance(part, exp.In) and part.expressions:
        return _any_of(_node(part.this), _nodes(part.expressions))
    raise _unknown(part.sql())


def _any_of(node: Node, values: Sequence[Node]) -> Node:
    """Whether one equals one of many."""
    first, *rest = (Call("=", (node, value)) for value in values)
    for other in rest:
        first = Call("or", (first, other))
    return first
