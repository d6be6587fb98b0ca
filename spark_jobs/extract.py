"""Raw files of one day or of many -> interactions, quarantine and catalogue, in one code path.

Every row of a raw file is either clean, or bad with all its reasons, or an exact copy of a row
that is kept; the three are counted per day and add up to the rows that the files hold.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as fn
from pyspark.sql.types import MapType, StructType

from lake import layout, tables
from lake.errors import PermanentError
from lake.records import TableContent
from lake.schemas import (
    ATTRIBUTES,
    CATALOGUE,
    EVENT_TYPE,
    INTERACTIONS,
    KIND,
    LANDED,
    QUARANTINE,
    RAW_ROW,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
    TABLES,
    spark_type,
)
from lake.settings import Catalogue
from lake.storage import open_storage
from spark_jobs import read
from spark_jobs.casts import Targets, catalogue_targets, quoted, raw_targets
from spark_jobs.digest import digests
from spark_jobs.job import main
from spark_jobs.raw import RAW, RawRows, rows
from spark_jobs.requests import ExtractRequest, ExtractResult, RawFile
from spark_jobs.session import session
from validation.rules import DUPLICATE, row_rules

Counts = dict[dt.date, dict[str, int]]

_HASH = "hash"


def run(request: ExtractRequest) -> ExtractResult:
    """Read, judge and stage the raw days of a request.

    Raises
    ------
    PermanentError
        When Spark read other rows than the files hold, or the counts do not add up.
    """
    counts = {day: _no_counts(request) for day in request.based_on}
    if request.files:
        _stage_events(session("extract"), request, counts)
    if request.catalogue and request.catalogues:
        _write(_catalogue(session("extract"), request, request.catalogue), request, "catalogue")
    result = ExtractResult(_contents(request), counts)
    _balance(result)
    return result


def _no_counts(request: ExtractRequest) -> dict[str, int]:
    reasons = {f"bad_{rule.name}": 0 for rule in row_rules(request.raw, request.events)}
    return {"read": 0, "clean": 0, "bad": 0, "duplicate": 0, **reasons}


def _stage_events(spark: SparkSession, request: ExtractRequest, counts: Counts) -> None:
    judged = _judged(spark, request)
    copies = _copies(judged).persist()
    _count(judged, copies, request, counts)
    good = judged.where(fn.size(REASONS) == 0)
    clean = good.join(copies.select(SOURCE_FILE, ROW_NUMBER), [SOURCE_FILE, ROW_NUMBER], "left_anti")
    _write(clean.select(*INTERACTIONS, LANDED), request, "interactions")
    _write(_quarantine(judged, copies), request, "quarantine")
    copies.unpersist()


def _judged(spark: SparkSession, request: ExtractRequest) -> DataFrame:
    """Every raw row with our columns, its reasons, itself as JSON, and a hash that finds copies."""
    found = rows(spark, request.raw_root, request.files, request.raw.format)
    return reduce(DataFrame.unionByName, (_judge(part, request) for part in found))


def _judge(part: RawRows, request: ExtractRequest) -> DataFrame:
    targets = raw_targets(request.raw)
    ours = [_ours(part, name, targets, request) for name in INTERACTIONS if name != SOURCE_FILE]
    return part.frame.select("*", *ours).select(
        *INTERACTIONS,
        LANDED,
        ROW_NUMBER,
        _reasons(request).alias(REASONS),
        fn.xxhash64(*_hashable(part.frame)).alias(_HASH),
        fn.to_json(RAW, {"ignoreNullFields": "false"}).alias(RAW_ROW),
    )


def _ours(part: RawRows, name: str, targets: Targets, request: ExtractRequest) -> Column:
    value = part.ours(name, targets, request.id_type, request.raw.timezone)
    if value is None:
        value = fn.lit(None).cast(spark_type(INTERACTIONS[name], request.id_type))
    return (fn.coalesce(value, fn.lit(request.events.default)) if name == EVENT_TYPE else value).alias(name)


def _reasons(request: ExtractRequest) -> Column:
    found = (fn.when(fn.expr(r.bad), fn.lit(r.name)) for r in row_rules(request.raw, request.events))
    return fn.array_compact(fn.array(*found))


def _hashable(frame: DataFrame) -> list[Column]:
    """The raw columns of which Spark makes hashes: all but maps."""
    raw = frame.schema[RAW].dataType
    assert isinstance(raw, StructType)
    return [fn.col(f"{RAW}.{quoted(field.name)}") for field in raw if not isinstance(field.dataType, MapType)]


def _copies(judged: DataFrame) -> DataFrame:
    """Of the good rows those that equal an earlier one of their day in every raw column.

    Only rows whose hash is not alone are compared as a whole.
    """
    good = judged.where(fn.size(REASONS) == 0)
    repeated = good.groupBy(LANDED, _HASH).count().where("count > 1").select(LANDED, _HASH)
    suspects = good.join(repeated, [LANDED, _HASH], "left_semi")
    place = Window.partitionBy(LANDED, RAW_ROW).orderBy(SOURCE_FILE, ROW_NUMBER)
    ranked = suspects.withColumn("_rank", fn.row_number().over(place))
    return ranked.where("_rank > 1").select(LANDED, SOURCE_FILE, ROW_NUMBER, RAW_ROW)


def _quarantine(judged: DataFrame, copies: DataFrame) -> DataFrame:
    bad = judged.where(fn.size(REASONS) > 0).withColumn(KIND, fn.lit("bad"))
    again = copies.withColumns({KIND: fn.lit("duplicate"), REASONS: fn.array(fn.lit(DUPLICATE))})
    columns = [*QUARANTINE, LANDED]
    return bad.select(*columns).unionByName(again.select(*columns))


def _count(judged: DataFrame, copies: DataFrame, request: ExtractRequest, counts: Counts) -> None:
    """Fill in the counts of every day that has rows; compare rows read with what the files say."""
    names = [rule.name for rule in row_rules(request.raw, request.events)]
    bad = fn.count_if(fn.size(REASONS) > 0).alias("bad")
    each = [fn.count_if(fn.array_contains(REASONS, name)).alias(f"bad_{name}") for name in names]
    for row in judged.groupBy(LANDED).agg(fn.count(fn.lit(1)).alias("read"), bad, *each).collect():
        found = row.asDict()
        counts[found.pop(LANDED)].update(found)
    for row in copies.groupBy(LANDED).count().collect():
        counts[row[LANDED]]["duplicate"] = row["count"]
    for day, found in counts.items():
        found["clean"] = found["read"] - found["bad"] - found["duplicate"]
        _require_all_read(day, found["read"], [file for file in request.files if file.day == day])


def _require_all_read(day: dt.date, read_rows: int, files: Iterable[RawFile]) -> None:
    stated = {file.name: file.rows for file in files}
    if read_rows != sum(stated.values()):
        raise PermanentError(
            f"{day}: Spark read {read_rows} rows of {', '.join(stated)}, which hold "
            f"{sum(stated.values())}: the file changed meanwhile, or Spark skipped it; run the day again"
        )


def _balance(result: ExtractResult) -> None:
    """Clean + bad + duplicates = rows read, by what was written."""
    for day, counts in result.counts.items():
        clean = result.tables["interactions"][day].rows
        aside = result.tables["quarantine"][day].rows
        if clean != counts["clean"] or aside != counts["bad"] + counts["duplicate"]:
            raise PermanentError(
                f"{day}: of {counts['read']} rows read {clean} were written as clean and {aside} set aside; "
                f"expected {counts['clean']}, and {counts['bad']} + {counts['duplicate']}; please report this"
            )


def _catalogue(spark: SparkSession, request: ExtractRequest, catalogue: Catalogue) -> DataFrame:
    targets = catalogue_targets(catalogue)
    found = rows(spark, request.raw_root, request.catalogues, catalogue.format)
    return reduce(DataFrame.unionByName, (_items(part, targets, request.id_type) for part in found))


def _items(part: RawRows, targets: Targets, id_type: str) -> DataFrame:
    used = {column for column, _ in targets.values()}
    rest = _attributes([name for name in part.families if name not in used])
    missing = fn.lit(None).cast("string")
    columns = {name: part.ours(name, targets, id_type) for name in CATALOGUE} | {ATTRIBUTES: rest}
    ours = [(missing if value is None else value).alias(name) for name, value in columns.items()]
    return part.frame.select(*ours, LANDED)


def _attributes(names: Sequence[str]) -> Column:
    """The columns that the mapping does not name, as text; those without a value are left out."""
    if not names:
        return fn.expr("CAST(map() AS MAP<STRING, STRING>)")
    keys = fn.array(*(fn.lit(name) for name in names))
    values = fn.array(*(fn.col(f"{RAW}.{quoted(name)}").cast("string") for name in names))
    return fn.map_filter(fn.map_from_arrays(keys, values), lambda _, value: value.isNotNull())


def _write(frame: DataFrame, request: ExtractRequest, table: str) -> None:
    target = read.hadoop_path(f"{request.lake}/{layout.staged(table, request.attempt)}")
    frame.write.mode("errorifexists").partitionBy(LANDED).parquet(target)


def _contents(request: ExtractRequest) -> dict[str, dict[dt.date, TableContent]]:
    days = list(request.based_on)
    delivered = sorted({file.day for file in request.catalogues})
    asked = {"interactions": days, "quarantine": days, "catalogue": delivered}
    return {table: _content(request, table, wanted) for table, wanted in asked.items()}


def _content(request: ExtractRequest, table: str, days: list[dt.date]) -> dict[dt.date, TableContent]:
    storage = open_storage(request.lake)
    staged = tables.describe(storage, table, request.attempt)
    files = [file.path for found in staged.values() for file in found]
    if not files:
        return tables.contents(storage, table, request.attempt, days, {})
    written = read.table(session("extract"), request.lake, table, files, request.id_type)
    found = digests(written, LANDED, TABLES[table])
    return tables.contents(storage, table, request.attempt, days, found)


if __name__ == "__main__":
    main(ExtractRequest, run)
