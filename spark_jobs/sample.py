"""The job that shows what ingest makes of a sample: the extract itself, bounded, and a look at its rows."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from pyspark.sql import Column
from pyspark.sql import functions as fn
from pyspark.sql.types import MapType

from lake.partitions import day_sql
from lake.schemas import EVENT_TS, KIND, RAW_ROW, ROW_NUMBER, SOURCE_FILE
from spark_jobs import extract, judge
from spark_jobs.job import main
from spark_jobs.judge import Delivery
from spark_jobs.plans import ExtractResult, MappedRow, RawFile, SamplePlan, SampleResult
from spark_jobs.session import session


def run(plan: SamplePlan) -> SampleResult:
    """Extract a sample, and look at its first clean rows and at the days of its stamps.

    Raises
    ------
    NightjarError
        See `spark_jobs.extract.run`.
    """
    part = _bounded(plan)
    made = extract.run(part)
    events, items = judge.events(part), judge.items(part)
    rows = [row for delivery in (events, items) if delivery for row in _first_rows(delivery, part)]
    values = {field.name: getattr(made, field.name) for field in fields(ExtractResult)}
    return SampleResult(**values, rows=tuple(rows), days=_days(events, part))


def _bounded(plan: SamplePlan) -> SamplePlan:
    """The plan for so many rows of the first files; of a catalogue that has more, for as many."""
    if plan.most is None:
        return plan
    return replace(plan, files=_first(plan.files, plan.most), catalogues=_first(plan.catalogues, plan.most))


def _first(files: Sequence[RawFile], most: int) -> tuple[RawFile, ...]:
    """The first files, and of each the first rows, until there are so many."""
    kept, before = [], 0
    for file in files:
        if before < most:
            kept.append(replace(file, rows=min(file.rows, most)))
        before += file.rows
    return tuple(kept)


def _first_rows(delivery: Delivery, plan: SamplePlan) -> Iterator[MappedRow]:
    if not delivery.files:
        return
    judged = judge.judged(session("sample"), plan, delivery).where(fn.col(KIND).isNull())
    names = [name for name in delivery.columns if name != SOURCE_FILE]
    kinds = {field.name: field.dataType for field in judged.schema}
    ours = fn.struct(*(_text(name, isinstance(kinds[name], MapType)) for name in names)).alias("ours")
    first = judged.orderBy(SOURCE_FILE, ROW_NUMBER).limit(plan.shown)
    for file, number, raw, values in first.select(SOURCE_FILE, ROW_NUMBER, RAW_ROW, ours).collect():
        yield MappedRow(delivery.table, file, number, raw, values.asDict())


def _text(name: str, is_map: bool) -> Column:
    return (fn.to_json(name) if is_map else fn.col(name).cast("string")).alias(name)


def _days(events: Delivery, plan: SamplePlan) -> dict[dt.date, int]:
    """The rows of each day, by their stamps."""
    if not events.files:
        return {}
    stamps = judge.judged(session("sample"), plan, events).where(fn.col(EVENT_TS).isNotNull())
    day = fn.expr(day_sql(EVENT_TS, plan.config.zone))
    return dict(sorted(map(tuple, stamps.groupBy(day).count().collect())))


if __name__ == "__main__":
    main(SamplePlan, run)
