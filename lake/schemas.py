"""Every column of the lake's tables is spelled here, with its type and what a missing row means.

Types are names of our own; `spark_ddl` and `arrow_schema` turn them into what each engine calls them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lake.stages import StageName

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
class Feature:
    """One float32 column of a feature table.

    Attributes
    ----------
    name
        The column.
    absent
        What a key without a row has: 0 for counts and sums, NaN for times and ratios.
    meaning
        The formula in words; D is the as-of day, "days" are distinct days with a purchase.
    """

    name: str
    absent: float
    meaning: str


NAN: Final = float("nan")

USER_FEATURES: Final = (
    Feature("trips", 0, "trip days ever"),
    Feature("trips_7", 0, "trip days in the last 7"),
    Feature("trips_28", 0, "trip days in the last 28"),
    Feature("trips_91", 0, "trip days in the last 91"),
    Feature("trip_rate", 0, "sum over trip days of .5^((D+1-day)/30)"),
    Feature("days_since_last", NAN, "D - last trip day"),
    Feature("days_since_first", NAN, "D - first trip day"),
    Feature("items", 0, "distinct items ever"),
    Feature("items_per_trip", NAN, "pair-days / trips"),
    Feature("amount_per_trip", NAN, "amount / trips"),
    Feature("quantity_per_trip", NAN, "quantity / trips, each row counting at least 1"),
)
ITEM_FEATURES: Final = (
    Feature("users", 0, "users who ever bought it"),
    Feature("users_7", 0, "users who bought it in the last 7 days"),
    Feature("users_28", 0, "users who bought it in the last 28 days"),
    Feature("users_91", 0, "users who bought it in the last 91 days"),
    Feature("m60", 0, "sum over users and days of weight * .5^((D+1-day)/60)"),
    Feature("days_since_last", NAN, "D - last day"),
    Feature("trend", 0, "4 * users_7 / (users_28 + 2)"),
    Feature("price", NAN, "amount / sum of max(quantity, 1), of events with an amount"),
    Feature(
        "rebuy_28",
        NAN,
        "(E + 20 q) / (R + 20): of R pair-days at least 28 days old, E rebought within 28; "
        "q the same of the subcategory, shrunk by 20 to the global ratio",
    ),
    Feature("brand_code", NAN, "xxhash64(brand) modulo 65,536"),
    Feature("category_code", NAN, "xxhash64(category) modulo 65,536"),
)
USER_ITEM_FEATURES: Final = (
    Feature("m60", 0, "sum over days of weight * .5^((D+1-day)/60)"),
    Feature("m15", 0, "sum over days of weight * .5^((D+1-day)/15)"),
    Feature("days", 0, "days bought ever"),
    Feature("days_7", 0, "days bought in the last 7"),
    Feature("days_28", 0, "days bought in the last 28"),
    Feature("days_91", 0, "days bought in the last 91"),
    Feature("days_since_last", NAN, "D - last day"),
    Feature("days_since_first", NAN, "D - first day"),
    Feature("gap_mean", NAN, "mean gap between days; null with fewer than 2"),
    Feature("gap_last", NAN, "gap between the last two days; null with fewer than 2"),
    Feature("due", NAN, "days_since_last / gap_mean"),
    Feature("quantity_mean", NAN, "quantity / days, each row counting at least 1"),
)
USER_CATEGORY_FEATURES: Final = (
    Feature("m60", 0, "sum over (item, day) of the subcategory of weight * .5^((D+1-day)/60)"),
    Feature("pair_days", 0, "(item, day) pairs of the subcategory ever"),
    Feature("pair_days_28", 0, "(item, day) pairs of the subcategory in the last 28 days"),
    Feature("days_since_last", NAN, "D - last day with the subcategory"),
    Feature("share", 0, "m60 / the user's total m60"),
)


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
        The column by which it is cut; no file holds it.
    columns
        The columns of its files, the key's first.
    key
        The columns that tell its rows apart; none where rows may be equal.
    features
        What a feature table says of its keys.
    """

    name: str
    stage: StageName
    partition: str
    columns: Columns
    key: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()


def _ingested(name: str, columns: Columns, key: tuple[str, ...] = ()) -> Table:
    return Table(name, StageName.INGEST, LANDED, columns, key)


def _featured(name: str, key: Columns, features: tuple[Feature, ...]) -> Table:
    columns = key | {feature.name: "float32" for feature in features}
    return Table(name, StageName.FEATURES, AS_OF, columns, tuple(key), features)


_DECLARED: Final = (
    _ingested("interactions", INTERACTIONS),
    _ingested("quarantine", QUARANTINE),
    _ingested("catalogue", CATALOGUE, (ITEM,)),
    _ingested("catalogue_quarantine", QUARANTINE),
    _featured("user_features", {USER: ID}, USER_FEATURES),
    _featured("item_features", {ITEM: ID}, ITEM_FEATURES),
    _featured("user_item_features", {USER: ID, ITEM: ID}, USER_ITEM_FEATURES),
    _featured("user_category_features", {USER: ID, SUBCATEGORY: "string"}, USER_CATEGORY_FEATURES),
)
TABLES: Final = {table.name: table for table in _DECLARED}
FEATURES: Final = {table.name: table.features for table in _DECLARED if table.features}
"""The features of each feature table."""


def copied_field(place: int) -> str:
    """A column's name in the copy of a raw file, where names of its own might clash."""
    return f"c{place}"


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
    return _arrow(TABLES[table].columns, id_type)


def _arrow(columns: Columns, id_type: str) -> "pa.Schema":
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
    return pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
