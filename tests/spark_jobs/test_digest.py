import datetime as dt

import pytest

from spark_jobs.digest import digests

pytestmark = pytest.mark.spark

DAY, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
SCHEMA = "landed DATE, a BIGINT, b STRING, source_file STRING, m MAP<STRING,STRING>"
COLUMNS = ["a", "b", "source_file", "m"]


def _digests(spark, rows, columns=COLUMNS):
    return digests(spark.createDataFrame(rows, SCHEMA), "landed", columns)


def test_neither_order_nor_cut_nor_source_changes_a_digest(spark):
    rows = [(DAY if n % 3 else NEXT, n, str(n), "x", {"k": "v", "l": str(n)}) for n in range(20)]
    turned = [(day, a, b, "y", dict(reversed(m.items()))) for day, a, b, _, m in reversed(rows)]
    cut = spark.createDataFrame(turned, SCHEMA).repartition(7)
    assert digests(cut, "landed", COLUMNS) == _digests(spark, rows)


def test_each_day_has_its_own_and_the_rows_stand_first(spark):
    found = _digests(spark, [(DAY, 1, "a", "", None), (DAY, 2, "a", "", None), (NEXT, 1, "a", "", None)])
    assert found.keys() == {DAY, NEXT}
    assert found[DAY].startswith("2:")
    assert found[NEXT].startswith("1:")


@pytest.mark.parametrize(
    "other",
    [
        [(DAY, 1, None, "", None), (DAY, 2, "a", "", None)],
        [(DAY, 1, "a", "", {}), (DAY, 2, "a", "", None)],
        [(DAY, 1, "a", "", None), (DAY, 1, "a", "", None)],
        [(DAY, None, "a", "", None), (DAY, 2, "a", "", None)],
        [(DAY, 1, "a", "", {"k": "v"}), (DAY, 2, "a", "", None)],
    ],
)
def test_another_content_has_another_digest(spark, other):
    base = [(DAY, 1, "a", "", None), (DAY, 2, "a", "", None)]
    assert _digests(spark, other) != _digests(spark, base)


def test_pairs_of_equal_rows_do_not_cancel_out(spark):
    twice = [(DAY, 1, "a", "", None)] * 2
    other = [(DAY, 2, "b", "", None)] * 2
    assert _digests(spark, twice) != _digests(spark, other)
