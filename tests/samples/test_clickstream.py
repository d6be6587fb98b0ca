"""`config/clickstream.toml` on a sample of its layout, from a folder of files to lists."""

from collections import Counter

import clickstream
import pytest
from clickstream import CROWD, LAST, TEASER

from lake.partitions import ONE_DAY, days

pytestmark = [pytest.mark.example, pytest.mark.spark]


@pytest.fixture(scope="module")
def shop(example):
    made = example("clickstream")
    planted = clickstream.write(made.raw)
    return made, planted, made.make_lists(LAST)


def test_every_row_is_counted_as_what_it_is(shop):
    made, planted, _ = shop
    made.require_counts(planted)
    assert planted[LAST].keys() == {"clean", "ignored", "bad", "duplicate"}


def test_lists_hold_what_people_of_the_same_taste_buy(shop):
    """A list of ten has 2.5 of one's own topic by chance."""
    _, _, reader = shop
    assert set(reader.users()) == {clickstream.user(person) for person in range(CROWD.people)}
    own = Counter(
        CROWD.topic(int(item.removeprefix("SKU-")) - 1000) == CROWD.topic(person)
        for person in range(CROWD.people)
        for item in reader.for_user(clickstream.user(person)).items[:10]
    )
    assert own[True] > 0.6 * own.total()


def test_what_all_look_at_and_nobody_buys_leads_no_list(shop):
    _, _, reader = shop
    assert TEASER in reader.popular().items
    assert TEASER not in {reader.for_user(user).items[0] for user in reader.users()}


def test_labels_are_purchases(shop):
    """Of the second last week, from which the ranker learned."""
    made, _, _ = shop
    week = days(LAST - 13 * ONE_DAY, LAST - 7 * ONE_DAY)
    bought = {(visit.person, visit.picks[0]) for day in week for visit in CROWD.visits(day)}
    decided = made.lake.records.current("train", LAST)
    assert decided.counts["ranking_positives"] == len(bought)
