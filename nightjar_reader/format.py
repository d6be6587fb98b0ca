"""The release format: every path, column and entry of releases and their ledger is spelled here.

The format in words, for programs in other languages: ``docs/release-format.md``. Importing this
module loads only the standard library, so that every layer and every DAG may import it.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from nightjar_reader.errors import FormatError

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
BUCKETS = 64
ROW_GROUP = 256

RELEASES = "releases"
LEDGER = "ledger"
PROVENANCE = "provenance"

MANIFEST = "manifest.json"
LISTS = "lists"
SIMILAR = "similar"
POPULAR = "popular.parquet"
ITEMS = "items.parquet"
INDEX = "items.ann"
USER_FACTORS = "user_factors.npy"
ITEM_FACTORS = "item_factors.npy"

USER_ID = "user_id"
ITEM_ID = "item_id"
ITEM_IDS = "item_ids"
SCORES = "scores"
FALLBACK = "fallback"
CODE = "code"
SEGMENT = "segment"
NAME = "name"
CATEGORY = "category"

LISTS_COLUMNS = (USER_ID, ITEM_IDS, SCORES, FALLBACK, CODE)
SIMILAR_COLUMNS = (ITEM_ID, ITEM_IDS, SCORES)
POPULAR_COLUMNS = (SEGMENT, ITEM_IDS, SCORES)
ITEMS_COLUMNS = (ITEM_ID, CODE, NAME, CATEGORY)

FALLBACK_PERSONAL = 0
FALLBACK_SEGMENT = 1
FALLBACK_GLOBAL = 2

IdType = Literal["int64", "string"]
Kind = Literal["publish", "rollback"]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_RELEASE_ID = re.compile(rf"{_DAY.pattern}-[0-9a-f]{{12}}")
_LEDGER_NAME = re.compile(r"([0-9]{12})\.json")


def bucket(id: int | str, buckets: int = BUCKETS) -> int:
    """Tell which file of ``lists/`` or ``similar/`` holds an id.

    Parameters
    ----------
    id
        An id of the data set; an integer counts as its decimal text.
    buckets
        How many there are, from the manifest.

    Returns
    -------
    int
        0 to ``buckets - 1``: the first 4 bytes, big-endian, of the SHA-256 of the id's UTF-8 text,
        modulo ``buckets``.
    """
    return int.from_bytes(_hash(id)[:4], "big") % buckets


def arm(user_id: int | str, weights: Sequence[float]) -> int:
    """Tell which of several current releases a user gets: always the same while the weights stay.

    Parameters
    ----------
    user_id
        An id of the data set.
    weights
        Those of the ledger entry's releases, in its order; each above 0.

    Returns
    -------
    int
        The position of the first release whose cumulated weight is above ``h / 2**32 * sum(weights)``,
        where h is bytes 5 to 8, big-endian, of the digest that gives the bucket.
    """
    point = int.from_bytes(_hash(user_id)[4:8], "big") / 2**32 * sum(weights)
    cumulated = 0.0
    for position, weight in enumerate(weights):
        cumulated += weight
        if point < cumulated:
            return position
    return len(weights) - 1


def _hash(id: int | str) -> bytes:
    return hashlib.sha256(str(id).encode("utf-8")).digest()


def lists_path(bucket: int) -> str:
    """The file of one bucket of users, within a release."""
    return f"{LISTS}/{bucket:02d}.parquet"


def similar_path(bucket: int) -> str:
    """The file of one bucket of items, within a release."""
    return f"{SIMILAR}/{bucket:02d}.parquet"


def release_path(release_id: str, file: str = "") -> str:
    """A file of a release, or its folder."""
    return f"{RELEASES}/{release_id}/{file}".rstrip("/")


def manifest_path(release_id: str) -> str:
    """The manifest of a release."""
    return release_path(release_id, MANIFEST)


def ledger_path(sequence: int) -> str:
    """One entry of the ledger."""
    return f"{LEDGER}/{sequence:012d}.json"


def ledger_sequence(name: str) -> int | None:
    """The number of a ledger entry from its file's name; None for any other file."""
    match = _LEDGER_NAME.fullmatch(name)
    return int(match[1]) if match else None


def provenance_path(release_id: str, attempt: str) -> str:
    """What is true of the run that made a release, and not of its content."""
    return f"{PROVENANCE}/{release_id}/{attempt}.json"


@dataclass(frozen=True)
class Bundle:
    """The model behind the lists, and the decision that named it."""

    id: str
    as_of: str
    outcome: str


@dataclass(frozen=True)
class Check:
    """One check of the release's content."""

    name: str
    severity: str
    passed: bool


@dataclass(frozen=True)
class Index:
    """How the Annoy index was built, and what it reaches."""

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
    """What a release contains: content only, nothing of the run that made it."""

    as_of: str
    config_digest: str
    bundle: Bundle | None
    baseline: str | None
    inputs: Mapping[str, str]
    missing_days: tuple[str, ...]
    counts: Mapping[str, int]
    metrics: Mapping[str, Any]
    checks: tuple[Check, ...]
    index: Index | None
    warnings: tuple[str, ...]
    files: Mapping[str, FileEntry]
    buckets: int = BUCKETS
    format: int = FORMAT


def _canonical_json(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def canonical(manifest: Manifest) -> bytes:
    """The only bytes of a manifest: equal content gives equal bytes.

    Raises
    ------
    ValueError
        When a number is NaN or infinite.
    """
    return _canonical_json(dataclasses.asdict(manifest))


def parse(data: bytes) -> Manifest:
    """Read a manifest.

    Raises
    ------
    FormatError
        When it is of another format, lacks a field, has one too many, or is not canonical.
    """
    value = _object(data, "manifest")
    _check_fields(value, Manifest, "manifest")
    try:
        manifest = _manifest(value)
    except (TypeError, AttributeError) as error:
        raise FormatError(f"manifest: a field has the wrong shape ({error})") from error
    _check_manifest(manifest, data)
    return manifest


def _check_manifest(manifest: Manifest, data: bytes) -> None:
    if not (isinstance(manifest.as_of, str) and _DAY.fullmatch(manifest.as_of)):
        raise FormatError(f"manifest: expected as_of YYYY-MM-DD, found {manifest.as_of!r}")
    if not (isinstance(manifest.buckets, int) and manifest.buckets > 0):
        raise FormatError(f"manifest: expected buckets above 0, found {manifest.buckets!r}")
    if canonical(manifest) != data:
        raise FormatError("manifest: the bytes are not the canonical JSON of their content")


def _manifest(value: dict[str, Any]) -> Manifest:
    bundle, index = value["bundle"], value["index"]
    return Manifest(
        **value
        | {
            "bundle": None if bundle is None else Bundle(**bundle),
            "index": None if index is None else Index(**index),
            "missing_days": tuple(value["missing_days"]),
            "checks": tuple(Check(**check) for check in value["checks"]),
            "warnings": tuple(value["warnings"]),
            "files": {path: FileEntry(**entry) for path, entry in value["files"].items()},
        }
    )


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except ValueError as error:
        raise FormatError(f"{what}: expected JSON in UTF-8, found {len(data)} bytes: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{what}: expected a JSON object, found {type(value).__name__}")
    if value.get("format") != FORMAT:
        raise FormatError(
            f"{what}: expected format {FORMAT}, found {value.get('format')!r}; update the reader"
        )
    return value


def _check_fields(value: dict[str, Any], cls: type, what: str) -> None:
    expected = {field.name for field in dataclasses.fields(cls)}
    if missing := sorted(expected - value.keys()):
        raise FormatError(f"{what}: without {', '.join(missing)}")
    if unknown := sorted(value.keys() - expected):
        raise FormatError(f"{what}: unknown {', '.join(unknown)} in format {FORMAT}")


def sha256(data: bytes) -> str:
    """The digest that manifests and ledger entries name, in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def release_id(manifest: bytes) -> str:
    """The id of the release with this manifest: its as-of day and 12 digits of the manifest's digest."""
    return f"{parse(manifest).as_of}-{sha256(manifest)[:12]}"


def is_release_id(text: str) -> bool:
    """Whether a text has the form of a release id."""
    return _RELEASE_ID.fullmatch(text) is not None


@dataclass(frozen=True)
class LedgerRelease:
    """A release that an entry makes current; weights are relative."""

    release_id: str
    manifest_sha256: str
    weight: float = 1


@dataclass(frozen=True)
class LedgerEntry:
    """Which release readers serve from this entry on."""

    sequence: int
    kind: Kind
    releases: tuple[LedgerRelease, ...]
    as_of: str
    actor: str
    reason: str
    written_at: str
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """The entry as a JSON object."""
        return dataclasses.asdict(self) | {"releases": [dataclasses.asdict(r) for r in self.releases]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "LedgerEntry":
        """Read an entry; `FormatError` where it is none of this format."""
        return parse_entry(_canonical_json(dict(value)))


def parse_entry(data: bytes) -> LedgerEntry:
    """Read a ledger entry from the bytes of its file.

    Raises
    ------
    FormatError
        When it is of another format, lacks a field or has one too many, names no release, or has a
        weight that is not above 0.
    """
    value = _object(data, "ledger entry")
    _check_fields(value, LedgerEntry, "ledger entry")
    try:
        releases = tuple(LedgerRelease(**release) for release in value["releases"])
    except TypeError as error:
        raise FormatError(f"ledger entry: a release has the wrong shape ({error})") from error
    _check_releases(releases)
    if value["kind"] not in get_args(Kind):
        raise FormatError(f"ledger entry: expected kind publish or rollback, found {value['kind']!r}")
    return LedgerEntry(**value | {"releases": releases})


def _check_releases(releases: tuple[LedgerRelease, ...]) -> None:
    if not releases:
        raise FormatError("ledger entry: names no release")
    for release in releases:
        if not is_release_id(release.release_id):
            raise FormatError(f"ledger entry: not a release id: {release.release_id!r}")
        if not (isinstance(release.weight, int | float) and 0 < release.weight < float("inf")):
            raise FormatError(f"ledger entry: expected a weight above 0, found {release.weight!r}")


def lists_schema(id_type: IdType) -> "pa.Schema":
    """``user_id, item_ids, scores, fallback, code``: one row for every user."""
    return _schema(LISTS_COLUMNS, id_type)


def similar_schema(id_type: IdType) -> "pa.Schema":
    """``item_id, item_ids, scores``: one row for every item with factors."""
    return _schema(SIMILAR_COLUMNS, id_type)


def popular_schema(id_type: IdType) -> "pa.Schema":
    """``segment, item_ids, scores``: one row for every segment; null is the global list."""
    return _schema(POPULAR_COLUMNS, id_type)


def items_schema(id_type: IdType) -> "pa.Schema":
    """``item_id, code, name, category``: one row for every item that a list may contain."""
    return _schema(ITEMS_COLUMNS, id_type)


def _schema(columns: Sequence[str], id_type: IdType) -> "pa.Schema":
    import pyarrow as pa

    an_id = {"int64": pa.int64(), "string": pa.string()}[id_type]
    types = {USER_ID: an_id, ITEM_ID: an_id, FALLBACK: pa.int8(), CODE: pa.int32()}
    types |= {
        ITEM_IDS: pa.list_(pa.field("element", an_id)),
        SCORES: pa.list_(pa.field("element", pa.float32())),
    }
    return pa.schema([(column, types.get(column, pa.string())) for column in columns])
