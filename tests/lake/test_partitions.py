import datetime as dt
from types import SimpleNamespace

import pytest

from lake import partitions
from lake.errors import PermanentError


def run(key=None, conf=None):
    return {"dag_run": SimpleNamespace(partition_key=key, conf=conf)}


def test_the_partition_key_comes_before_the_configuration():
    assert partitions.resolve(run("2017-09-30", {"partition": "2017-01-01"})) == dt.date(2017, 9, 30)
    assert partitions.resolve(run(None, {"partition": "2017-01-01"})) == dt.date(2017, 1, 1)


@pytest.mark.parametrize(
    "context", [run(), run(conf={}), {}, {"dag_run": SimpleNamespace(logical_date="2017-09-30")}]
)
def test_a_run_without_a_partition_is_refused_and_told_how_to_pass_one(context):
    with pytest.raises(PermanentError, match=r'trigger it with a partition key.*\{"partition"'):
        partitions.resolve(context)


@pytest.mark.parametrize("text", ["2017-9-30", "20170930", "2017-02-30", "yesterday", "2017-09-30T00:00"])
def test_only_a_whole_day_is_a_partition(text):
    with pytest.raises(PermanentError, match="expected YYYY-MM-DD"):
        partitions.parse(text)


def test_days_include_both_ends_and_leap_days():
    got = list(partitions.days(dt.date(2020, 2, 28), dt.date(2020, 3, 1)))
    assert got == [dt.date(2020, 2, 28), dt.date(2020, 2, 29), dt.date(2020, 3, 1)]


def test_a_day_ends_at_the_next_midnight_in_utc():
    assert partitions.end_of(dt.date(2017, 12, 31)) == dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
