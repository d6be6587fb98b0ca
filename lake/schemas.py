"""Every column of the lake's tables is spelled here, with its type.

Types are names of our own; `spark_ddl` and `arrow_schema` turn them into what each engine calls them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lake.feature_spec import FEATURES
from lake.names import StageName, TableName

if TYPE_CHECKING:
    import pyarrow as pa

USER: Final = "user_id"
ITEM: Final = "item_id"
EVENT_TS: Final = "event_ts"
EVENT_TYPE: Final = "event_type"
QUANTITY: Final = "quantity"
AMOUNT: Final = "amount"
CONTEXT: Final = "context_id"
SEGMENT: Final = "segment"
SOURCE_FILE: Final = "source_file"

NAME: Final = "name"
CATEGORY: Final = "category"
SUBCATEGORY: Final = "subcategory"
BRAND: Final = "brand"
ATTRIBUTES: Final = "attributes"

KIND: Final = "kind"
REASONS: Final = "reasons"
ROW_NUMBER: Final = "row_number"
RAW_ROW: Final = "raw_row"
WORDS: Final = "words"
MALFORMED: Final = "malformed"
LINE: Final = "line"
HASH: Final = "hash"

LANDED: Final = "landed"
AS_OF: Final = "as_of"

ID: Final = "id"

Columns = dict[str, str]

INTERACTIONS: Final[Columns] = {
    USER: ID,
    ITEM: ID,
    EVENT_TS: "timestamp",
    EVENT_TYPE: "string",
    QUANTITY: "decimal(18,3)",
    AMOUNT: "decimal(18,2)",
    CONTEXT: "string",
    SEGMENT: "string",
    SOURCE_FILE: "string",
}
QUARANTINE: Final[Columns] = {
    KIND: "string",
    REASONS: "list<string>",
    SOURCE_FILE: "string",
    ROW_NUMBER: "int64",
    RAW_ROW: "string",
}
CATALOGUE: Final[Columns] = {
    ITEM: ID,
    NAME: "string",
    CATEGORY: "string",
    SUBCATEGORY: "string",
    BRAND: "string",
    ATTRIBUTES: "map<string,string>",
}


@dataclass(frozen=True)
class Table:
    """A table of the lake.

    Attributes
    ----------
    name
        The table, and the folder of its files.
    stage
        The stage that makes it.
    partition
        The partition column; no file holds it.
    columns
        The columns of its files, the key's first.
    key
        The columns that tell its rows apart; none where rows may be equal.
    """

    name: str
    stage: StageName
    partition: str
    columns: Columns
    key: tuple[str, ...] = ()


def _ingested(name: str, columns: Columns, key: tuple[str, ...] = ()) -> Table:
    return Table(name, StageName.INGEST, LANDED, columns, key)


def _featured(name: str, key: Columns) -> Table:
    columns = key | {feature.name: "float32" for feature in FEATURES[name]}
    return Table(name, StageName.FEATURES, AS_OF, columns, tuple(key))


_DECLARED: Final = (
    _ingested(TableName.INTERACTIONS, INTERACTIONS),
    _ingested(TableName.QUARANTINE, QUARANTINE),
    _ingested(TableName.CATALOGUE, CATALOGUE, (ITEM,)),
    _ingested(TableName.CATALOGUE_QUARANTINE, QUARANTINE),
    _featured(TableName.USERS, {USER: ID}),
    _featured(TableName.ITEMS, {ITEM: ID}),
    _featured(TableName.PAIRS, {USER: ID, ITEM: ID}),
    _featured(TableName.CATEGORIES, {USER: ID, SUBCATEGORY: "string"}),
)
TABLES: Final = {table.name: table for table in _DECLARED}


def copied_field(column: str) -> str:
    """A raw column's name in the copy of its file, which has columns of ours too."""
    return f"raw_{column}"


_SPARK: Final = {
    "int64": "BIGINT",
    "string": "STRING",
    "timestamp": "TIMESTAMP",
    "float32": "FLOAT",
    "list<string>": "ARRAY<STRING>",
    "map<string,string>": "MAP<STRING,STRING>",
}


def spark_type(kind: str, id_type: str) -> str:
    """Spark's name of one of our types."""
    kind = id_type if kind == ID else kind
    return _SPARK.get(kind, kind.upper())


def spark_ddl(table: str, id_type: str) -> str:
    """A table's columns as a Spark schema, without the partition column."""
    return ", ".join(f"{name} {spark_type(kind, id_type)}" for name, kind in TABLES[table].columns.items())


def arrow_schema(table: str, id_type: str) -> "pa.Schema":
    """A table's columns as an Arrow schema, without the partition column."""
    import pyarrow as pa

    kinds = {
        ID: pa.int64() if id_type == "int64" else pa.string(),
        "int64": pa.int64(),
        "string": pa.string(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "float32": pa.float32(),
        "decimal(18,3)": pa.decimal128(18, 3),
        "decimal(18,2)": pa.decimal128(18, 2),
        "list<string>": pa.list_(pa.string()),
        "map<string,string>": pa.map_(pa.string(), pa.string()),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in TABLES[table].columns.items()])
