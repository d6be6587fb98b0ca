import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.sections import TrainingSection
from training.labels import Truth, digest, distinct, truth

DAY = dt.date(2017, 9, 23)
LAST = dt.date(2017, 9, 30)
PAIRS = {(1, 10): 1.0, (1, 11): 1.0, (2, 10): 1.0}


def labels(events, day, after, last, data) -> Truth:
    """The true pairs of a window."""
    return truth(distinct(events, after, last, data), day, data)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_the_window_is_the_seven_days_after(make_as_of, make_events, data):
    day = make_as_of(PAIRS)
    events = make_events(
        [
            (1, 10, at("2017-09-23T23:59:59.999999")),
            (1, 11, at("2017-09-24T00:00:00")),
            (2, 10, at("2017-09-30T23:59:59.999999")),
            (2, 11, at("2017-10-01T00:00:00")),
        ]
    )
    found = labels(events, day, DAY, LAST, data)
    assert list(zip(found.users, found.items, strict=True)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("label_days", range(1, 29))
def test_the_window_is_as_long_as_the_setting_says(make_as_of, make_events, data, label_days):
    """One of 14 days was cut to 7."""
    chosen = data.model_copy(update={"training": TrainingSection(label_days=label_days)})
    outside = at("2017-09-24") + dt.timedelta(days=label_days)
    inside = outside - dt.timedelta(microseconds=1)
    events = make_events([(1, 10, inside), (2, 11, outside)])
    found = labels(events, make_as_of(PAIRS), DAY, DAY + chosen.training.label_window, chosen)
    assert list(zip(found.users, found.items, strict=True)) == [(0, 0)]


def test_the_window_is_of_the_days_of_the_zone(make_as_of, make_events, data):
    """Over a change of clocks: its seven days have an hour less."""
    zoned = data.model_copy(update={"zone": "America/New_York"})
    day, last = dt.date(2017, 3, 8), dt.date(2017, 3, 15)
    events = make_events(
        [
            (1, 10, at("2017-03-09T04:59:59.999999")),
            (1, 11, at("2017-03-09T05:00:00")),
            (2, 10, at("2017-03-16T03:59:59.999999")),
            (2, 11, at("2017-03-16T04:00:00")),
        ]
    )
    found = labels(events, make_as_of(PAIRS), day, last, zoned)
    assert list(zip(found.users, found.items, strict=True)) == [(0, 1), (1, 0)]


def test_pairs_are_distinct_and_unknown_items_count(make_as_of, make_events, data):
    day = make_as_of(PAIRS)
    stamp = at("2017-09-25")
    events = make_events([(1, 10, stamp), (1, 10, stamp), (1, 77, stamp), (1, 78, stamp), (9, 10, stamp)])
    found = labels(events, day, DAY, LAST, data)
    assert found.items.tolist() == [-1, -1, 0]
    assert found.counts.tolist() == [3, 0]


def test_no_label_is_seen_after_the_last_day(make_as_of, make_events, data):
    day = make_as_of(PAIRS)
    wide = data.model_copy(update={"training": data.training.model_copy(update={"label_days": 14})})
    events = make_events([(1, 10, at("2017-09-30T12:00")), (1, 11, at("2017-10-01T12:00"))])
    assert labels(events, day, DAY, LAST, wide).items.tolist() == [0]


def test_where_repeats_are_not_recommended_labels_are_unseen(make_as_of, make_events, data):
    day = make_as_of(PAIRS)
    once = data.model_copy(update={"repeats": False})
    stamp = at("2017-09-25")
    events = make_events([(1, 10, stamp), (2, 11, stamp), (2, 10, stamp), (2, 99, stamp)])
    found = labels(events, day, DAY, LAST, once)
    assert list(zip(found.users, found.items, strict=True)) == [(1, -1), (1, 1)]
    assert found.counts.tolist() == [0, 2]


def test_holds_asks_for_pairs(make_as_of, make_events, data):
    day = make_as_of(PAIRS)
    events = make_events([(1, 11, at("2017-09-25")), (2, 77, at("2017-09-25"))])
    found = labels(events, day, DAY, LAST, data)
    users = np.array([[0], [1]], np.int32)
    items = np.array([[0, 1, -1], [0, 1, -1]], np.int32)
    assert found.holds(users, items).tolist() == [[False, True, False], [False, False, False]]


pairs_of_codes = st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 9)))


@given(true=pairs_of_codes, asked=pairs_of_codes)
def test_holds_is_membership(true, asked):
    users, items = np.array(sorted(true), np.int32).reshape(-1, 2).T
    found = Truth(users, items, np.zeros(10, np.int32)).holds(*np.array(asked, np.int32).reshape(-1, 2).T)
    assert found.tolist() == [pair in true and pair[1] >= 0 for pair in asked]


def test_the_digest_is_of_the_distinct_pairs_whatever_their_order_was(make_events, data):
    stamp, other = at("2017-09-25"), at("2017-09-26")
    rows = [(1, 10, stamp), (2, 11, stamp), (1, 12, stamp)]

    def digest_of(*events):
        return digest(distinct(make_events(list(events)), DAY, LAST, data))

    assert digest_of(*rows) == digest_of(*reversed(rows)) == digest_of(*rows, (1, 10, other))
    assert digest_of(*rows) != digest_of(*rows, (1, 13, stamp))
    assert digest_of(*rows) == digest_of(*rows, (1, 13, at("2017-10-02")))  # after the window


def test_the_digest_tells_texts_apart(make_events, data):
    stamp = at("2017-09-25")

    def digest_of(*pairs):
        return digest(distinct(make_events([(*pair, stamp) for pair in pairs]), DAY, LAST, data))

    assert digest_of(("a", "bc")) != digest_of(("ab", "c"))
    assert digest_of(("a", "b"), ("a", "c")) == digest_of(("a", "c"), ("a", "b"))
