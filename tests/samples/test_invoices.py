"""`config/invoices.toml` on a sample of its layout: one file over all days, cut, and taken to lists."""

import datetime as dt
from decimal import Decimal

import invoices
import pytest
from invoices import CROWD, FIRST, LAST, SERVICES

from lake import tables
from lake.partitions import days

pytestmark = [pytest.mark.example, pytest.mark.spark]

CODES = {invoices.code(item): CROWD.topic(item) for item in range(CROWD.items)}


@pytest.fixture(scope="module")
def shop(example):
    made = example("invoices")
    planted = invoices.write(made.raw)
    made.cut("online_retail.csv")
    return made, planted, made.make_lists(LAST)


def test_every_row_is_counted_as_what_it_is(shop):
    made, planted, _ = shop
    made.require_counts(planted)
    assert {kind for kinds in planted.values() for kind in kinds} == {
        "clean",
        "ignored",
        "excluded",
        "return",
        "duplicate",
    }


def test_days_on_which_the_shop_is_closed_have_records(shop):
    made, planted, _ = shop
    closed = {day for day in days(FIRST, LAST) if made.record(day).outcome == "closed"}
    assert closed == set(days(FIRST, LAST)) - planted.keys()
    assert {dt.date(2009, 12, 5), dt.date(2009, 12, 25)} < closed


def test_amounts_are_those_of_all_pieces_and_stamps_are_of_the_minute(shop):
    made, _, _ = shop
    files = made.record(FIRST).tables["interactions"].files
    row = tables.read(made.lake.storage, "interactions", "string", files).to_pylist()[0]
    assert (row["item_id"], row["quantity"], row["amount"]) == ("22053", 6, Decimal("53.10"))
    assert row["event_ts"].replace(tzinfo=None) == dt.datetime(2009, 12, 1, 9, 4)


def test_lists_hold_goods_of_the_own_taste_and_no_postage(shop):
    """A list of ten has 2.5 of one's own topic by chance."""
    _, _, reader = shop
    people = {invoices.customer(person).removesuffix(".0"): person for person in range(CROWD.people)}
    assert set(reader.users()) == people.keys()
    listed = {user: reader.for_user(user).items for user in people}
    assert not {code for code, _ in SERVICES} & {item for items in listed.values() for item in items}
    own = [CODES[item] == CROWD.topic(people[user]) for user, items in listed.items() for item in items[:10]]
    assert sum(own) > 0.6 * len(own)
