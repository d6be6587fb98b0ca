"""What the fields of a record's file must hold, and those of its details that stages read."""

from collections.abc import Mapping
from typing import Any

from nightjar_reader.errors import FormatError
from nightjar_reader.fields import (
    COUNT,
    DAY,
    LIST,
    OBJECT,
    POSITIVE,
    SHA256,
    STAMP,
    TEXT,
    WORD,
    check,
    list_of,
    object_of,
    optional,
    or_null,
)
from nightjar_reader.ledger import RELEASE_ID

_RECORD = {
    "stage": WORD,
    "partition": DAY,
    "attempt": WORD,
    "outcome": WORD,
    "version": COUNT,
    "config_digest": TEXT,
    "inputs": LIST,
    "tables": object_of(OBJECT),
    "counts": object_of(COUNT),
    "details": OBJECT,
    "sequence": POSITIVE,
    "written_at": STAMP,
    "fingerprint": SHA256,
}
_INPUT = {"name": WORD, "digest": TEXT, "partition": TEXT, "sequence": COUNT, "bytes": COUNT}
_TABLE = {"files": LIST, "rows": COUNT, "digest": WORD}
_FILE = {"path": WORD, "bytes": COUNT, "rows": COUNT}
_DETAILS = {
    "missing_days": optional(list_of(DAY)),
    "bundle_id": optional(or_null(WORD)),
    "bundle_as_of": optional(DAY),
    "booster_as_of": optional(or_null(DAY)),
    "baseline": optional(or_null(WORD)),
    "metrics": optional(or_null(OBJECT)),
    "evaluation": optional(or_null(OBJECT)),
    "release_id": optional(RELEASE_ID),
    "manifest_sha256": optional(SHA256),
}

_WHAT = "record"


def checked(entry: Mapping[str, Any], stage: str, partition: str, sequence: int) -> dict[str, Any]:
    """The fields of a record, checked against the place where it lies.

    Raises
    ------
    FormatError
        When a field is missing or wrong, or the record belongs to another place.
    """
    fields = check(dict(entry), _RECORD, _WHAT)
    for name, value in (("stage", stage), ("partition", partition), ("sequence", sequence)):
        if fields[name] != value:
            raise FormatError(f"{_WHAT}: expected {name} {value!r}, as where it lies, found {fields[name]!r}")
    check(fields["details"], _DETAILS, _WHAT, "details")
    inputs = [check(source, _INPUT, _WHAT, f"inputs[{at}]") for at, source in enumerate(fields["inputs"])]
    tables = {name: _table(table, f"tables.{name}") for name, table in fields["tables"].items()}
    return fields | {"inputs": inputs, "tables": tables}


def _table(value: Any, at: str) -> dict[str, Any]:
    fields = check(value, _TABLE, _WHAT, at)
    files = [check(file, _FILE, _WHAT, f"{at}.files[{n}]") for n, file in enumerate(fields["files"])]
    return fields | {"files": files}
