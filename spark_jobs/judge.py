"""Raw rows of events or of a catalogue, cast to our columns and judged by the row rules.

A row without a reason is clean. Any other row is set aside with all its reasons and a kind: bad, ignored,
excluded or return. What other rows say of a row is asked afterwards (`spark_jobs.aside`).
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn

from lake.expressions import columns_of
from lake.formats.content import ColumnSpec, Targets
from lake.formats.dialect import CsvSection
from lake.formats.paths import ASTRAY, MISSING, value_at
from lake.id_forms import AS_WRITTEN, IdForm
from lake.names import TableName
from lake.partitions import begin_sql
from lake.schemas import (
    ATTRIBUTES,
    CATALOGUE,
    EVENT_TS,
    EVENT_TYPE,
    HASH,
    INTERACTIONS,
    ITEM,
    KIND,
    LANDED,
    MALFORMED,
    RAW_ROW,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
    USER,
    WORDS,
    Columns,
    spark_type,
)
from spark_jobs.casts import catalogue_targets, key_parts, raw_targets
from spark_jobs.plans import ExtractPlan, RawFile
from spark_jobs.raw import RawRows, rows
from validation.rules import OUTSIDE, Rule, item_rules, row_rules

NOTES = "notes"
HOUR = "hour"
EVENT = "event"
NAMED = "is_named"
_SHOWN = 60
"""Letters of a raw value in a sample, so that a sample stays one short line."""


@dataclass(frozen=True)
class Delivery:
    """The raw files of one kind, events or catalogues, and what is made of them.

    Attributes
    ----------
    zone
        That of its days.
    timezone
        That of stamps that name none.
    forms
        Of its ids.
    columns
        Those of the table that clean rows go to.
    table, aside
        The tables of clean rows, and of those set aside.
    stamps
        The forms of its stamps; none for ISO alone.
    prefix
        What the names of its counts begin with.
    key
        The words that together name an event; without them its whole row does.
    reach
        How many days back copies are sought.
    later
        The kinds that other rows make of clean rows and returns, beside duplicates.
    """

    files: tuple[RawFile, ...]
    csv: CsvSection
    zone: str
    timezone: str
    forms: Mapping[str, IdForm]
    targets: Targets
    columns: Columns
    rules: tuple[Rule, ...]
    table: str
    aside: str
    stamps: tuple[str, ...] = ()
    prefix: str = ""
    key: tuple[str, ...] = ()
    reach: int = 0
    later: tuple[str, ...] = ()

    @property
    def event(self) -> str:
        """The column that is the same for copies."""
        return EVENT if self.key else RAW_ROW

    @property
    def kinds(self) -> list[str]:
        """What rows are set aside as."""
        unwanted = () if self.prefix else ("ignored", "return")
        excluded = ("excluded",) if self.named("excluded") else ()
        return ["bad", "duplicate", *unwanted, *excluded, *self.later]

    def named(self, kind: str) -> list[str]:
        """The names of its rules of a kind."""
        return [rule.name for rule in self.rules if rule.kind == kind]


def events(plan: ExtractPlan) -> Delivery:
    """The events of a plan's days."""
    raw, rules = plan.config.raw, plan.config.rules
    later = {"bot": rules.exclude.bot_deviations is not None, "netted": rules.returns == "net"}
    return Delivery(
        files=plan.files,
        csv=raw.csv,
        zone=plan.config.zone,
        timezone=raw.timezone,
        forms={USER: plan.config.rules.user_ids, ITEM: plan.config.rules.item_ids},
        targets=raw_targets(raw),
        columns=INTERACTIONS,
        rules=_rules_of(plan),
        table=TableName.INTERACTIONS,
        aside=TableName.QUARANTINE,
        stamps=raw.stamps,
        key=tuple(key_parts(raw)),
        reach=raw.reach.days,
        later=tuple(kind for kind, is_set in later.items() if is_set),
    )


def _rules_of(plan: ExtractPlan) -> tuple[Rule, ...]:
    return tuple(rule for rule in row_rules(plan.config) if not (plan.any_day and rule.name == OUTSIDE))


def items(plan: ExtractPlan) -> Delivery | None:
    """The catalogues of a plan's days; None where the plan has none."""
    if plan.config.catalogue is None or not plan.catalogues:
        return None
    return Delivery(
        files=plan.catalogues,
        csv=plan.config.catalogue.csv,
        zone=plan.config.zone,
        timezone=plan.config.raw.timezone,
        forms={ITEM: plan.config.rules.item_ids},
        targets=catalogue_targets(plan.config.catalogue),
        columns=CATALOGUE,
        rules=item_rules(plan.config),
        table=TableName.CATALOGUE,
        aside=TableName.CATALOGUE_QUARANTINE,
        prefix="catalogue_",
    )


def judged(spark: SparkSession, plan: ExtractPlan, delivery: Delivery) -> DataFrame:
    """Every raw row: our columns, its reasons and kind, the row as JSON, its hash (equal for copies).

    Where events have a key also `EVENT`, which is equal for copies and for nothing else, and `NAMED`:
    whether the row has all of the key.
    """
    parts = rows(spark, plan, delivery.files)
    return reduce(DataFrame.unionByName, (_judge(part, plan, delivery) for part in parts))


def _judge(part: RawRows, plan: ExtractPlan, delivery: Delivery) -> DataFrame:
    targets, csv, forms = delivery.targets, delivery.csv, delivery.forms
    part = part.with_computed(targets, csv, forms)
    names = [name for name in delivery.columns if name not in (SOURCE_FILE, ATTRIBUTES)]
    casts = [_cast(part, name, plan, delivery).alias(name) for name in names]
    each = {
        name: part.normalized(name, targets, csv, forms.get(name, AS_WRITTEN), delivery.stamps)
        for name in targets
    }
    texts = fn.struct(*(text.alias(name) for name, text in each.items()))
    frame = part.frame.select("*", texts.alias(WORDS))
    extra = [_attributes(part, delivery).alias(ATTRIBUTES)] if ATTRIBUTES in delivery.columns else []
    if delivery.key:
        frame, extra = _identified(frame, delivery.key), [*extra, fn.col(EVENT), fn.col(NAMED)]
    return (
        frame.select("*", *casts)
        .select(
            *names,
            *extra,
            SOURCE_FILE,
            LANDED,
            MALFORMED,
            ROW_NUMBER,
            _reasons(delivery.rules).alias(REASONS),
            _names(rule for rule in delivery.rules if rule.kind == "rounded").alias(NOTES),
            HASH,
            RAW_ROW,
        )
        .withColumn(KIND, _kind(delivery))
    )


def _identified(frame: DataFrame, key: Iterable[str]) -> DataFrame:
    """Rows known by their key, or by all that they hold where a part of it is missing."""
    parts = [fn.col(f"{WORDS}.{name}") for name in key]
    named = reduce(Column.__and__, (part.isNotNull() for part in parts))
    by_key, by_row = fn.array(fn.lit("key"), *parts), fn.array(fn.lit("row"), RAW_ROW)
    return frame.withColumns(
        {
            NAMED: named,
            EVENT: fn.when(named, by_key).otherwise(by_row),
            HASH: fn.when(named, fn.xxhash64(*parts)).otherwise(fn.col(HASH)),
        }
    )


def _cast(part: RawRows, name: str, plan: ExtractPlan, delivery: Delivery) -> Column:
    value = part.cast(name, delivery.targets, plan.config.id_type, delivery.timezone, delivery.stamps)
    if value is None:
        value = fn.lit(None).cast(spark_type(delivery.columns[name], plan.config.id_type))
    return fn.coalesce(value, fn.lit(plan.config.events.default)) if name == EVENT_TYPE else value


def _reasons(rules: Iterable[Rule]) -> Column:
    """All reasons of a row. Where a rule that stands alone applies, its reason is the only one."""
    faults = [rule for rule in rules if rule.kind != "rounded"]
    reasons = _names(rule for rule in faults if not rule.alone)
    for rule in reversed([rule for rule in faults if rule.alone]):
        reasons = fn.when(fn.expr(rule.bad), fn.array(fn.lit(rule.name))).otherwise(reasons)
    return reasons


def _names(rules: Iterable[Rule]) -> Column:
    """The names of the rules that apply."""
    return _those([(fn.expr(rule.bad), fn.lit(rule.name)) for rule in rules], "array<string>")


def _those(each: Iterable[tuple[Column, Column]], kind: str) -> Column:
    """The values whose condition holds. A filter of one array would be interpreted, row by row."""
    nothing = fn.array().cast(kind)
    return fn.concat(nothing, *(fn.when(holds, fn.array(value)).otherwise(nothing) for holds, value in each))


def _kind(delivery: Delivery) -> Column:
    """The kind of a row that is set aside; null for a clean row."""
    faults = fn.size(fn.array_except(REASONS, _literals(delivery.named("return"))))
    kind = fn.when(faults == 0, "return").otherwise("bad")
    for wish in ("excluded", "ignored"):
        if names := delivery.named(wish):
            kind = fn.when(fn.arrays_overlap(REASONS, _literals(names)), wish).otherwise(kind)
    return fn.when(fn.size(REASONS) > 0, kind)


def _literals(names: Iterable[str]) -> Column:
    return fn.lit(list(names)).cast("array<string>")


def _attributes(part: RawRows, delivery: Delivery) -> Column:
    """The raw columns that are not mapped, as a map of texts without nulls."""
    names = [name for name in part.families if name not in ColumnSpec(delivery.targets).mapped]
    if not names:
        return fn.expr("CAST(map() AS MAP<STRING, STRING>)")
    texts = [(name, part.text(name)) for name in names]
    entries = [
        (text.isNotNull(), fn.struct(fn.lit(name).alias("key"), text.alias("value"))) for name, text in texts
    ]
    return fn.map_from_entries(_those(entries, "array<struct<key: string, value: string>>"))


def hour(zone: str) -> Column:
    """Hours from the start of the landed day to the stamp, held within -24 and 48; null without a stamp."""
    since = fn.unix_seconds(EVENT_TS) - fn.unix_seconds(fn.expr(begin_sql(LANDED, zone)))
    return fn.least(fn.greatest(fn.floor(since / 3600), fn.lit(-24)), fn.lit(48)).alias(HOUR)


def samples(judged: DataFrame, names: str, delivery: Delivery) -> dict[dt.date, dict[str, str]]:
    """For each day and reason a sentence about the first such row: its number, its file and its raw value.

    Parameters
    ----------
    judged
        Rows with file, row number, raw row and the column `names`, a list of reasons.
    """
    columns = {rule.name: rule.column for rule in delivery.rules}
    first = fn.min(fn.struct(SOURCE_FILE, ROW_NUMBER, RAW_ROW)).alias("row")
    sentences: dict[dt.date, dict[str, str]] = {}
    each = judged.select(LANDED, SOURCE_FILE, ROW_NUMBER, RAW_ROW, fn.explode(names).alias("name"))
    for day, name, row in each.groupBy(LANDED, "name").agg(first).collect():
        text = delivery.targets.get(columns.get(name, ""), ("", ""))[0]
        value = _value(row[RAW_ROW], columns_of(text) if text else ())
        sentences.setdefault(day, {})[name] = f"row {row[ROW_NUMBER]} of {row[SOURCE_FILE]}: {value}"
    return sentences


def _value(raw_row: str, columns: Sequence[str]) -> str:
    """The value of a raw row as JSON, or the values; the whole row where it has no such column."""
    try:
        row: Mapping[str, object] = json.loads(raw_row)
    except ValueError:
        row = {}
    values = {column: value_at(row, column) for column in columns}
    there = {column: value for column, value in values.items() if value not in (MISSING, ASTRAY)}
    told = next(iter(there.values())) if len(columns) == 1 and there else there
    text = json.dumps(told, ensure_ascii=False) if there else raw_row
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
