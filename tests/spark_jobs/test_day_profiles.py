import datetime as dt
from collections import Counter

import pytest

from lake.partitions import days
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest
from validation.profile import QUANTILES, Profile, Values

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

DAY, NEXT, CLOSED = dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 3)


def _quantile(values, part):
    """The value at a part of the way from the first to the last, between neighbours in proportion."""
    place = part * (len(values) - 1)
    low = int(place)
    return values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def _values(numbers):
    above = sorted(number for number in numbers if number is not None and number > 0)
    found = tuple(_quantile(above, part) for part in QUANTILES) if above else ()
    return Values(len(above), pytest.approx(found, rel=1e-12))


def _profile(rows):
    """A profile by plain Python."""
    users = Counter(row["user"] for row in rows)
    return Profile(
        rows=len(rows),
        users=len(users),
        items=len({row["item"] for row in rows}),
        busiest=max(users.values()),
        event_types=dict(Counter(row["type"] for row in rows)),
        segments=dict(Counter(row["store"] or "(none)" for row in rows)),
        amounts=_values([row["paid"] for row in rows]),
        quantities=_values([row["pieces"] for row in rows]),
    )


def test_a_profile_is_what_plain_python_counts_of_the_clean_rows(tiny, tiny_row):
    many = [
        tiny_row(
            DAY,
            user=1 + place % 7,
            item=10 + place % 13,
            type="view" if place % 3 else "purchase",
            store=(None, "A", "B")[place % 3],
            pieces=place % 4,
            paid=0.0 if place % 5 == 0 else place * 0.25,
            basket=place,
        )
        for place in range(60)
    ]
    other = [tiny_row(NEXT, user=1, paid=0.0), tiny_row(NEXT, user=2, paid=0.0, pieces=0)]
    tiny.put(DAY, [*many, tiny_row(DAY, user=None), many[0]])
    tiny.put(NEXT, other)
    attempt = attempts.begin(tiny.lake, Ingest(), list(days(DAY, CLOSED)))
    tiny.extract(attempt)
    result = attempts.read_made(tiny.lake, Ingest(), attempt)
    assert result.profiles == {DAY: _profile(many), NEXT: _profile(other)}


def test_of_very_many_segments_the_rest_are_one(tiny, tiny_row, monkeypatch):
    monkeypatch.setattr("spark_jobs.day_profiles.MOST_SEGMENTS", 2)
    stores = ["C", "C", "B", "A", "D"]
    tiny.put(DAY, [tiny_row(DAY, user=user, store=store) for user, store in enumerate(stores)])
    attempt = attempts.begin(tiny.lake, Ingest(), [DAY])
    tiny.extract(attempt)
    result = attempts.read_made(tiny.lake, Ingest(), attempt)
    assert result.profiles[DAY].segments == {"C": 2, "A": 1, "(others)": 2}
