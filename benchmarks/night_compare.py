"""What other engines make features of, and whether these are the lake's."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import night_data
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from night_features import HALF_LIVES, LEFT_OUT, Plan

from lake import tables
from lake.lake import Lake
from lake.names import StageName, TableName
from lake.records import Record
from lake.schemas import TABLES
from spark_jobs.weights import scale, unit


def plan_of(folder: Path, day: dt.date, out: Path) -> Plan:
    """The files that the features stage of a day reads, and the settings that it follows."""
    lake = _open(folder)
    ingested, config = lake.ingested(day), lake.data.features.model_dump()
    catalogue = [record for record in ingested if TableName.CATALOGUE in record.tables][-1:]
    half_lives = {name: config[f"{name}_half_life"] for name in HALF_LIVES}
    first, after = lake.data.first_day.toordinal(), day.toordinal() + 1
    (weight,) = lake.data.events.weights.values()
    return Plan(
        day=day.isoformat(),
        interactions=_files(lake, ingested, TableName.INTERACTIONS),
        catalogue=_files(lake, catalogue, TableName.CATALOGUE),
        out=str(out),
        config=config,
        weight=weight,
        scales={name: scale(days) for name, days in half_lives.items()},
        halvings={name: after // days - first // days for name, days in half_lives.items()},
        units={name: unit(day, days) for name, days in half_lives.items()},
    )


def differing(folder: Path, day: dt.date, out: Path) -> dict[str, int]:
    """How many values of an engine are not the lake's, bit by bit, for each feature that has any.

    A table with other keys is named with the rows that it has more.
    """
    lake = _open(folder)
    record = lake.records.current(StageName.FEATURES, day)
    assert record is not None
    counts: dict[str, int] = {}
    for name, content in record.tables.items():
        keys = list(TABLES[name].key)
        order = [(key, "ascending") for key in keys]
        ours = tables.read(lake.storage, name, lake.data.id_type, content.files).sort_by(order)
        theirs = pq.read_table(out / f"{name}.parquet").sort_by(order)
        of_ours = ours.select(keys)
        if not theirs.select(keys).cast(of_ours.schema).equals(of_ours):  # Polars writes long texts
            counts[name] = len(theirs) - len(ours)
            continue
        features = [feature for feature in ours.column_names if feature not in (*keys, *LEFT_OUT)]
        counts |= {f"{name}.{feature}": _unequal(ours[feature], theirs[feature]) for feature in features}
    return {name: count for name, count in counts.items() if count}


def _unequal(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> int:
    """How many values differ; NaN, which no feature is, would differ from itself."""
    same = pc.fill_null(pc.equal(ours, theirs), False)
    both_null = pc.and_(pc.is_null(ours), pc.is_null(theirs))
    return len(ours) - (pc.sum(pc.or_(same, both_null)).as_py() or 0)


def _open(folder: Path) -> Lake:
    return Lake.open(night_data.settings_of(folder, night_data.read(folder)))


def _files(lake: Lake, records: Iterable[Record], table: str) -> tuple[str, ...]:
    files = (file for record in records for file in record.tables[table].files)
    return tuple(str(lake.storage.local(file.path)) for file in files)
