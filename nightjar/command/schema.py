"""The JSON schema of a data set's TOML, for editors: `make docs` writes it beside `config/*.toml`.

taplo, and with it the extension Even Better TOML, reads it by the line ``#:schema`` at the head of a TOML. It
says what a key is and which values it may have; what takes two keys to tell only reading the TOML finds.
"""

import json
from typing import Any, Final

from lake.dataset import CONFIG_DIR, Dataset

NAME: Final = "nightjar.schema.json"
FILE: Final = CONFIG_DIR / NAME
_DRAFT: Final = "http://json-schema.org/draft-07/schema#"  # the newest that all editors of TOML read


def text() -> str:
    """The whole file."""
    schema = {"$schema": _DRAFT} | _for_editors(Dataset.model_json_schema())
    return json.dumps(schema | {"title": "A data set of Nightjar"}, indent=1, ensure_ascii=False) + "\n"


def _for_editors(node: Any) -> Any:
    """A part of pydantic's schema in words that draft 7 and TOML have."""
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = _without_null(node)
    if node.get("type") == "array" and "minLength" in node:  # pydantic's word below a validator of its own
        node["minItems"] = node.pop("minLength")
    if form := node.pop("form", ""):  # a word of ours
        node["description"] = f"{node.get('description', '')}\nExpected: {form}.".lstrip()
    kept = {key: value for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    return {key: _for_editors(value) for key, value in kept.items()}


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """A schema without null, which TOML does not have: such a key is left out."""
    if {"type": "null"} not in node.get("anyOf", ()):
        return dict(node)
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
    kind: dict[str, Any] = next(option for option in node["anyOf"] if option != {"type": "null"})
    return kind | rest


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
