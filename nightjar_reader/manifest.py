"""The manifest: what a release contains, in bytes that its content alone decides."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightjar_reader.errors import FormatError
from nightjar_reader.fields import (
    BOOLEAN,
    COUNT,
    DAY,
    FORMAT,
    LIST,
    NUMBER,
    OBJECT,
    POSITIVE,
    SHA256,
    TEXT,
    Rule,
    check,
    is_number,
    list_of,
    object_of,
    or_null,
    read_object,
    require_version,
)

BUCKETS = 64  # by default; the format fixes no number

_WHAT = "manifest"


@dataclass(frozen=True)
class BundleReference:
    """The model behind the lists, and the decision that named it."""

    id: str
    as_of: str
    outcome: str


@dataclass(frozen=True)
class CheckResult:
    """One check of the release's content."""

    name: str
    severity: str
    passed: bool


@dataclass(frozen=True)
class IndexSummary:
    """How the Annoy index was built, and its recall."""

    trees: int
    search_k: int
    recall: float
    bytes: int


@dataclass(frozen=True)
class FileEntry:
    """Length and SHA-256 (hex) of one file of a release."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a release contains. Nothing in it depends on the run that made the release."""

    as_of: str
    config_digest: str
    bundle: BundleReference | None
    baseline: str | None
    inputs: Mapping[str, str]
    missing_days: tuple[str, ...]
    counts: Mapping[str, int]
    metrics: Mapping[str, Any]
    checks: tuple[CheckResult, ...]
    index: IndexSummary | None
    warnings: tuple[str, ...]
    files: Mapping[str, FileEntry]
    buckets: int = BUCKETS
    format: int = FORMAT


def _is_metric(value: Any) -> bool:
    return is_number(value) or (isinstance(value, dict) and all(map(_is_metric, value.values())))


_RULES = {
    "as_of": DAY,
    "config_digest": TEXT,
    "bundle": or_null(OBJECT),
    "baseline": or_null(TEXT),
    "inputs": object_of(TEXT),
    "missing_days": list_of(DAY),
    "counts": object_of(COUNT),
    "metrics": object_of(Rule("a number or an object of such", _is_metric)),
    "checks": LIST,
    "index": or_null(OBJECT),
    "warnings": list_of(TEXT),
    "files": OBJECT,
    "buckets": POSITIVE,
    "format": POSITIVE,
}
_BUNDLE = {"id": TEXT, "as_of": DAY, "outcome": TEXT}
_CHECK = {"name": TEXT, "severity": TEXT, "passed": BOOLEAN}
_INDEX = {"trees": POSITIVE, "search_k": POSITIVE, "recall": NUMBER, "bytes": COUNT}
_FILE = {"bytes": COUNT, "sha256": SHA256}


def canonical(manifest: Manifest) -> bytes:
    """The only bytes of a manifest: equal content gives equal bytes.

    Raises
    ------
    ValueError
        When a number is NaN or infinite.
    """
    return _canonical_json(dataclasses.asdict(manifest))


def _canonical_json(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def parse(data: bytes) -> Manifest:
    """Read a manifest.

    Raises
    ------
    FormatError
        When it is of another format, asks for a newer reader, has a field that is missing or wrong,
        or is not canonical.
    """
    value = read_object(data, _WHAT)
    require_version(value, _WHAT)
    try:
        manifest = _manifest(check(value, _RULES, _WHAT))
        is_canonical = _canonical_json(value) == data
    except UnicodeEncodeError as error:  # half of a surrogate pair, which an unknown field may hold too
        raise FormatError(f"{_WHAT}: expected texts that UTF-8 can hold, found {error}") from error
    except RecursionError as error:
        raise FormatError(f"{_WHAT}: expected values that are not nested as deep ({error})") from error
    if not is_canonical:
        raise FormatError(f"{_WHAT}: the bytes are not the canonical JSON of their content")
    return manifest


def _manifest(value: dict[str, Any]) -> Manifest:
    bundle, index = value["bundle"], value["index"]
    parts = {
        "bundle": None if bundle is None else BundleReference(**check(bundle, _BUNDLE, _WHAT, "bundle")),
        "index": None if index is None else IndexSummary(**check(index, _INDEX, _WHAT, "index")),
        "missing_days": tuple(value["missing_days"]),
        "checks": tuple(
            CheckResult(**check(item, _CHECK, _WHAT, f"checks[{at}]"))
            for at, item in enumerate(value["checks"])
        ),
        "warnings": tuple(value["warnings"]),
        "files": {path: _file(path, entry) for path, entry in value["files"].items()},
    }
    return Manifest(**value | parts)


def _file(path: str, entry: Any) -> FileEntry:
    if "\0" in path or not all(part not in ("", ".", "..") for part in path.split("/")):
        raise FormatError(f"{_WHAT}: expected files to be named by paths within the release, found {path!r}")
    return FileEntry(**check(entry, _FILE, _WHAT, f"files[{path!r}]"))


def sha256(data: bytes) -> str:
    """The digest that manifests and ledger entries name, in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def release_id(manifest: bytes) -> str:
    """The id of the release with this manifest: its as-of day and 12 digits of the manifest's digest."""
    return f"{parse(manifest).as_of}-{sha256(manifest)[:12]}"
