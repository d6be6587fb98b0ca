import datetime as dt
from types import SimpleNamespace

import pytest

from lake.records import Input
from nightjar.stages import overlap

DAY, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
OWN, NEW, LATER = "a/1", "a/2", "b/1"


def _file(name, day=DAY):
    return SimpleNamespace(name=name, sha256=f"of {name}", day=day)


def _record(day, *names):
    return SimpleNamespace(partition=str(day), inputs=[Input(name, f"of {name}") for name in names])


@pytest.mark.parametrize(
    ("before", "now", "later", "stale"),
    [
        ([OWN], [OWN], [LATER, OWN], False),
        ([], [OWN], [LATER, OWN], False),
        ([], [OWN], [LATER], True),  # the day came after the other
        ([OWN], [OWN, NEW], [LATER, OWN], True),  # one of its files came later
        ([OWN, NEW], [OWN], [LATER, OWN, NEW], True),  # one is gone
        ([OWN, NEW], [OWN], [LATER, OWN], False),
        ([OWN], [OWN], None, False),
    ],
)
def test_a_later_day_is_named_where_it_sought_copies_in_other_files(before, now, later, stale):
    records = {DAY: _record(DAY, *before)} | ({NEXT: _record(NEXT, *later)} if later else {})
    raw = SimpleNamespace(late_days=1, event_key=("invoice",))
    plan = SimpleNamespace(
        config=SimpleNamespace(raw=raw), files=[_file(name) for name in now], searched=lambda day: []
    )
    lake = SimpleNamespace(records=SimpleNamespace(current=lambda stage, day: records.get(day)))
    (check,) = overlap.check(DAY, plan, SimpleNamespace(counts={DAY: {}}), lake)
    assert (check.name, check.severity, check.passed) == ("2024-01-01.later_copies", "warning", not stale)
    assert ("--from 2024-01-02 --to 2024-01-02" in check.expected) == stale
