"""Names that lead into objects: ``user.id`` is the field ``id`` of the object ``user``.

Where a row has a field of the whole name, that is meant; else the longest part of it up to a dot that is a
field leads on, in the same way. So a field whose own name holds a dot can be named wherever it stands.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

MISSING: Final = object()
"""What a name finds where no field has it."""
ASTRAY: Final = object()
"""What a name finds where a value stands in its way that is no object."""


def heads(name: str) -> Iterator[tuple[str, str]]:
    """The parts of a name up to each dot, the longest first, each with what is behind the dot."""
    yield name, ""
    at = name.rfind(".")
    while at > 0:
        yield name[:at], name[at + 1 :]
        at = name.rfind(".", 0, at)


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """The value that a name finds in a row; null in the way of a name is null."""
    if name in row:
        return row[name]
    for head, rest in heads(name):
        if head in row:
            inner = row[head]
            return value_at(inner, rest) if isinstance(inner, dict) else None if inner is None else ASTRAY
    return MISSING


def replaced(row: Mapping[str, Any], name: str, value: Any, suffix: str = "") -> dict[str, Any]:
    """A row with another value where a name leads; the suffix goes behind the name of that field."""
    head, rest = next((head, rest) for head, rest in heads(name) if head in row)
    if rest:
        return {**row, head: replaced(row[head], rest, value, suffix)}
    return {key + suffix if key == head else key: value if key == head else row[key] for key in row}
