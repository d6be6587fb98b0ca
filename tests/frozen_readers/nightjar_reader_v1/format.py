"""The release format: every path and column of releases and their ledger is spelled here.

Manifests and entries have modules of their own; this one exports all names of the format.
``docs/release-format.md`` describes the format for programs in other languages. Importing this module
loads only the standard library, so that every layer and every DAG may import it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from nightjar_reader_v1.errors import FormatError
from nightjar_reader_v1.fields import FORMAT, READER
from nightjar_reader_v1.hashing import arm, bucket
from nightjar_reader_v1.ledger import (
    PUBLISH,
    ROLLBACK,
    Experiment,
    LedgerEntry,
    LedgerRelease,
    entry_of,
    is_release_id,
    parse_entry,
)
from nightjar_reader_v1.manifest import (
    BUCKETS,
    BundleReference,
    CheckResult,
    FileEntry,
    IndexSummary,
    Manifest,
    canonical,
    parse,
    release_id,
    sha256,
)
from nightjar_reader_v1.sequences import file_name, sequences

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BUCKETS",
    "FORMAT",
    "PUBLISH",
    "READER",
    "ROLLBACK",
    "BundleReference",
    "CheckResult",
    "Experiment",
    "FileEntry",
    "FormatError",
    "IndexSummary",
    "LedgerEntry",
    "LedgerRelease",
    "Manifest",
    "arm",
    "bucket",
    "canonical",
    "entry_of",
    "is_release_id",
    "parse",
    "parse_entry",
    "release_id",
    "sequences",
    "sha256",
]

ROW_GROUP = 256  # rows, all of which are read for one of them

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
    return f"{LEDGER}/{file_name(sequence)}"


def provenance_path(release_id: str, attempt: str) -> str:
    """What is true of the run that made a release, and not of its content."""
    return f"{PROVENANCE}/{release_id}/{attempt}.json"


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
