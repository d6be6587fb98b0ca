"""The page docs/settings.md, made from the models of all settings: ``make docs`` writes it."""

import ast
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from lake.dataset import Dataset
from lake.settings import CHECKOUT, PREFIX, Places, Resources, Secrets, Spark, Tasks, Waits
from lake.toml import models_in
from nightjar_reader import cache

Kind = type[BaseModel]
Schema = dict[str, Any]

PAGE = CHECKOUT / "docs" / "settings.md"
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
GROUPS: tuple[Kind, ...] = (Places, Secrets, Waits, Tasks, Spark, Resources)

HEAD = """\
# Settings

`make docs` makes this page from `lake/dataset.py`, `lake/raw_sections.py`, `lake/rule_sections.py`,
`lake/sections.py` and `lake/settings.py`: change a setting there.

## The data set

What one TOML says; [data-sets.md](data-sets.md) explains it. Sections without a key that is needed may be
left out, and so may `[catalogue]`. Types are strict: `4.0`, `"4"` and `true` are no whole numbers, a date is
not a text. No number is `nan` or `inf`.
"""
VARIABLES = """\
## The environment

But for the data set itself, no variable changes what comes out. A variable with a value that cannot work, an
empty one too, is named at the first command; unset it for the default.
"""
READER = """\
### Reader

What a service sets that reads releases from S3 by `nightjar_reader`; its own arguments come first.

| variable | meaning |
| --- | --- |"""


def page() -> str:
    """The whole page."""
    sections = [_section(kind, places) for kind, places in places_of(Dataset).items()]
    return "\n".join([HEAD, *sections, VARIABLES, *map(_group, GROUPS), READER, *_reader_rows(), ""])


def places_of(kind: Kind, path: str = "") -> dict[Kind, list[str]]:
    """A model and the models within it, in their order, each with the paths of the keys that hold it."""
    places = {kind: [path]}
    for name, field in kind.model_fields.items():
        for inner in models_in(field):
            for deeper, paths in places_of(inner, f"{path}.{name}".lstrip(".")).items():
                places.setdefault(deeper, []).extend(paths)
    return places


def _section(kind: Kind, places: list[str]) -> str:
    first, *others = places
    siblings = [place for place in others if place.rpartition(".")[0] == first.rpartition(".")[0]]
    names = [
        f"`[{first}]`" if first else "Above the sections",
        *(f"`{place.split('.')[-1]}`" if place in siblings else f"`[{place}]`" for place in others),
    ]
    shared = {"needed": False, "follows": "as above"} if siblings else {}
    rows = (_row(f"`{key}`", schema | shared, _toml) for key, schema in _fields(kind))
    return _table(", ".join(names), kind, "key", rows)


def _group(kind: Kind) -> str:
    rows = (_row(f"`{PREFIX}{key.upper()}`", schema, str) for key, schema in _fields(kind))
    return _table(kind.__name__, kind, "variable", rows)


def _table(title: str, kind: Kind, first: str, rows: Iterable[str]) -> str:
    head = f"| {first} | type | default | bounds | meaning |\n| --- | --- | --- | --- | --- |"
    return "\n".join([f"### {title}", "", inspect.getdoc(kind) or "", "", head, *rows, ""])


def _fields(kind: Kind) -> Iterator[tuple[str, Schema]]:
    """The schema of each field with its default; a section without words of its own is left out."""
    schema, defaults = kind.model_json_schema(), kind.model_construct().model_dump(mode="json")
    for key, field in schema["properties"].items():
        if "description" in field:
            needed = key in schema.get("required", ())
            yield key, _without_null(field) | {"needed": needed, "default": defaults.get(key)}


def _without_null(schema: Schema) -> Schema:
    return next((option for option in schema.get("anyOf", ()) if option != {"type": "null"}), {}) | schema


def _row(key: str, schema: Schema, write: Callable[[Any], str]) -> str:
    default = schema.get("follows") or ("" if schema["default"] is None else f"`{write(schema['default'])}`")
    cells = (key, _type(schema), "**needed**" if schema["needed"] else default, bounds(schema))
    return f"| {' | '.join(cells)} | {schema['description']} |"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value) if isinstance(value, str | bool) else f"{value:_}"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return "table"
    if schema["type"] in ("array", "object"):
        return f"{'list' if schema['type'] == 'array' else 'table'} of {_type(_value_schema(schema))}s"
    return "date" if schema.get("format") == "date" else TYPES[schema["type"]]


def _value_schema(schema: Schema) -> Schema:
    """The schema of each value of a list or table."""
    any_key = next(iter(schema.get("patternProperties", {}).values()), None)
    return schema.get("items") or schema.get("additionalProperties") or any_key or {}


def bounds(schema: Schema) -> str:
    """What values a field may have, in words."""
    if schema.get("type") in ("array", "object"):
        return ", ".join(filter(None, [bounds(_value_schema(schema)), _minimum_size(schema)]))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    return schema.get("form") or _range(schema)


def _minimum_size(schema: Schema) -> str:
    return "one at least" if {"minLength", "minItems", "minProperties"} & schema.keys() else ""


def _range(schema: Schema) -> str:
    low, above, high = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    words = (("at least", low), ("above", above), ("up to", high))
    return ", ".join(f"{word} {_number(value)}" for word, value in words if value is not None)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:.6f}".rstrip("0")


def _reader_rows() -> Iterator[str]:
    """The variables of the reader, which has no pydantic: constants with words below them."""
    for pair in pairwise(ast.parse(inspect.getsource(cache)).body):
        match pair:
            case ast.Assign(value=ast.Constant(value=str(name))), ast.Expr(
                value=ast.Constant(value=str(meaning))
            ):
                yield f"| `{name}` | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
