"""The demo's year, day by day as its nights compare it: which nights warn, and why."""

import datetime as dt

import pandas as pd
import pytest

from lake.rule_sections import CompareSection
from nightjar.command import land
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


def _profiles(frame, products):
    """The profile of each day of some rows."""
    frame = frame.assign(known=frame.product_id.isin(products))
    days = frame.groupby("day")
    told = days.agg(rows=("known", "size"), users=("household_id", "nunique"))
    told = told.assign(items=days.product_id.nunique(), known=days.known.sum())
    busiest = frame.groupby(["day", "household_id"]).size().groupby("day").max()
    stores = frame.groupby(["day", "store_id"]).size()
    amounts, quantities = _values(frame, "sales_value"), _values(frame, "quantity")
    return {
        day: Profile(
            rows=int(row.rows),
            users=int(row.users),
            items=int(row["items"]),
            busiest=int(busiest[day]),
            segments={str(name): int(n) for name, n in stores[day].items()},
            amounts=amounts[day],
            quantities=quantities[day],
            known=int(row.known),
        )
        for day, row in told.iterrows()
    }


@pytest.fixture(scope="module")
def products():
    """The items of the demo's catalogue."""
    return pd.read_parquet(land._source() / "products.parquet", columns=["product_id"]).product_id


@pytest.fixture(scope="module")
def frame():
    """All rows of the demo with their day."""
    found = pd.read_parquet(land._source() / "transactions.parquet")
    return found.assign(day=found.transaction_timestamp.dt.date)


@pytest.fixture(scope="module")
def year(frame, products):
    """The profile of each day of the demo data."""
    return _profiles(frame, products)


def _past(year, day):
    reach = dt.timedelta(days=CompareSection().days)
    return {then: found for then, found in year.items() if day - reach <= then < day}


def test_of_the_demo_s_year_six_nights_warn_and_none_stops(year):
    config = CompareSection()
    warned, stopped, asked = {}, [], set()
    for day, profile in year.items():
        for check in compare(day, profile, _past(year, day), config):
            asked.add(check.name.rpartition(".")[2])
            if not check.passed and check.severity == "warning":
                warned.setdefault(day, set()).add(check.name.rpartition(".")[2])
            elif not check.passed:
                stopped.append(check)
    assert len(year) == 365
    assert asked == set(CompareSection.model_fields) - {
        "days",
        "stop_after",
        "min_rows",
        "event_types",
        "catalogue",
    } | {"history"}
    assert stopped == []
    assert warned == WARNED
    assert len(warned) <= AT_MOST


def _swapped(rows):
    chosen = rows.index % 10 < 3
    return rows.assign(
        product_id=rows.product_id.where(~chosen, rows.store_id),
        store_id=rows.store_id.where(~chosen, rows.product_id),
    )


def _one_user(rows):
    robot = rows.iloc[[0] * 1_000_000].assign(household_id=1, basket_id=range(1_000_000))
    return pd.concat([rows, robot], ignore_index=True)


def _half_of_the_stores(rows):
    return rows[rows.store_id.isin(sorted(rows.store_id.unique())[::2])]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda rows: rows, set()),
        (lambda rows: rows.assign(sales_value=rows.sales_value * 100), {"amounts", "amount_scale"}),
        (lambda rows: rows.assign(sales_value=rows.sales_value / 100), {"amounts", "amount_scale"}),
        (lambda rows: rows.assign(quantity=rows.quantity * 12), {"quantities"}),
        (_swapped, {"segments", "known_items"}),
        (_one_user, {"rows", "busiest_user", "segments", "amounts"}),
        (_half_of_the_stores, {"rows", "items", "users", "segments"}),
    ],
    ids=[
        "as it is",
        "amounts x 100",
        "amounts / 100",
        "dozens",
        "swapped in 30 %",
        "a robot",
        "stores missing",
    ],
)
def test_a_day_of_the_demo_that_goes_wrong_is_named_where_it_passed_green(
    frame, products, year, spoil, named
):
    day = dt.date(2017, 9, 30)
    profile = _profiles(spoil(frame[frame.day == day].reset_index(drop=True)), products)[day]
    checks = compare(day, profile, _past(year, day), CompareSection())
    against = {check.name.rpartition(".")[2]: check.severity for check in checks if not check.passed}
    assert set(against) == named
    assert {name for name, severity in against.items() if severity == "critical"} == named & {"amount_scale"}
