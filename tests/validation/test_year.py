"""The demo's year, day by day as its nights compare it: which nights warn, and why."""

import datetime as dt

import pandas as pd
import pytest

from lake.comparisons import Compare
from nightjar import land
from validation.compare import compare
from validation.profile import QUANTILES, Profile, Values

AT_MOST = 365 / 30
WARNED = {
    dt.date(2017, 1, 11): {"quantities"},  # fuel, sold in thousands, becomes more than one row in a hundred
    dt.date(2017, 1, 12): {"quantities"},
    dt.date(2017, 7, 4): {"rows"},  # Independence Day, a Tuesday: more rows by 1.6
    dt.date(2017, 11, 22): {"rows"},  # the day before Thanksgiving: more by 1.7
    dt.date(2017, 11, 24): {"rows", "items"},  # the day after it: half
    dt.date(2018, 1, 1): {"rows", "users", "items", "segments"},  # the data end in the morning: 534 rows
}


def _values(frame, column):
    """Of each day how a column is spread, by pandas."""
    days = frame[frame[column] > 0].groupby("day")[column]
    table = days.quantile(list(QUANTILES)).unstack()
    counts = days.size()
    return {day: Values(int(counts[day]), tuple(table.loc[day])) for day in table.index}


@pytest.fixture(scope="module")
def year():
    """The profile of each day of the demo data."""
    frame = pd.read_parquet(land._source() / "transactions.parquet")
    products = pd.read_parquet(land._source() / "products.parquet", columns=["product_id"])
    frame["day"] = frame.transaction_timestamp.dt.date
    frame["known"] = frame.product_id.isin(products.product_id)
    days = frame.groupby("day")
    told = days.agg(rows=("known", "size"), users=("household_id", "nunique"))
    told = told.assign(items=days.product_id.nunique(), known=days.known.sum())
    busiest = frame.groupby(["day", "household_id"]).size().groupby("day").max()
    stores = frame.groupby(["day", "store_id"]).size().unstack(fill_value=0)
    amounts, quantities = _values(frame, "sales_value"), _values(frame, "quantity")
    return {
        day: Profile(
            rows=int(row.rows),
            users=int(row.users),
            items=int(row["items"]),
            busiest=int(busiest[day]),
            segments={str(name): int(n) for name, n in stores.loc[day].items() if n},
            amounts=amounts[day],
            quantities=quantities[day],
            known=int(row.known),
        )
        for day, row in told.iterrows()
    }


def test_of_the_demo_s_year_six_nights_warn_and_none_stops(year):
    config = Compare()
    warned, stopped, asked = {}, [], set()
    for day, profile in year.items():
        past = {then: year[then] for then in year if day - dt.timedelta(days=config.days) <= then < day}
        for check in compare(day, profile, past, config):
            asked.add(check.name.rpartition(".")[2])
            if not check.passed and check.severity == "warning":
                warned.setdefault(day, set()).add(check.name.rpartition(".")[2])
            elif not check.passed:
                stopped.append(check)
    assert len(year) == 365
    assert asked == set(Compare.model_fields) - {
        "days",
        "stop_after",
        "min_rows",
        "event_types",
        "catalogue",
    } | {"history"}
    assert stopped == []
    assert warned == WARNED
    assert len(warned) <= AT_MOST
