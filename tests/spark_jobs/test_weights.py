import datetime as dt
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import functions as fn

from lake.errors import ConfigError
from lake.raw_kinds import LARGEST_WEIGHT
from spark_jobs.weights import SUM_BITS, decayed, scale, unit, weights

AS_OF = dt.date(2024, 3, 9)
HALF_LIVES = [1, 2, 3, 15, 30, 60, 85, 86, 683, 1419, 3650]


def summed(days, half_life, weight=1.0, start=0, last=None):
    """The sum of ascending days after `start`, which is that of days up to `last`, and its period."""
    table, total, period = weights(weight, half_life), start, (last or 0) // half_life
    for day in days:
        total = (total >> min(63, day // half_life - period)) + table[day % half_life]
        period = day // half_life
    return total, period


def as_of(total, period, day, half_life):
    return (total >> min(63, (day.toordinal() + 1) // half_life - period)) * unit(day, half_life)


@given(st.lists(st.integers(0, 400), min_size=1, unique=True), st.sampled_from(HALF_LIVES))
def test_a_sum_is_close_to_the_formula(ages, half_life):
    days = [AS_OF.toordinal() - age for age in sorted(ages, reverse=True)]
    found = as_of(*summed(days, half_life), AS_OF, half_life)
    assert found == pytest.approx(sum(0.5 ** ((age + 1) / half_life) for age in ages), rel=1e-6, abs=2e-8)


@given(st.lists(st.integers(0, 2000), min_size=2, unique=True), st.sampled_from(HALF_LIVES), st.data())
def test_a_sum_is_the_floor_of_all_days_together_wherever_it_was_taken_up(days, half_life, data):
    days.sort()
    cut = data.draw(st.integers(1, len(days) - 1))
    total, period = summed(days, half_life)
    before, _ = summed(days[:cut], half_life)
    assert summed(days[cut:], half_life, start=before, last=days[cut - 1]) == (total, period)
    table = weights(1.0, half_life)
    whole = sum(table[day % half_life] << day // half_life for day in days)
    assert total == whole >> period


def test_a_weight_halves_with_each_half_life():
    assert [as_of(*summed([AS_OF.toordinal() - age], 1), AS_OF, 1) for age in range(3)] == [0.5, 0.25, 0.125]


def test_the_event_weight_scales_the_weights():
    assert weights(2.0, 5) == [pytest.approx(2 * weight, abs=1) for weight in weights(1.0, 5)]
    assert weights(0.0, 3) == [0, 0, 0]


def test_a_year_of_a_short_half_life_is_still_precise():
    found = as_of(*summed([AS_OF.toordinal() - 364], 15), AS_OF, 15)
    assert found == pytest.approx(0.5 ** (365 / 15), rel=1e-3)


@pytest.mark.parametrize("half_life", HALF_LIVES)
def test_the_largest_weights_of_all_days_fit_a_long_sixteen_times(half_life):
    table = weights(LARGEST_WEIGHT, half_life)
    total = 0
    for _ in range(64):
        total = (total >> 1) + sum(table)
    assert total < 2**SUM_BITS


def test_a_scale_gives_way_to_long_half_lives_alone():
    assert [scale(days).bit_length() - 1 for days in (1, 60, 63, 64, 3650)] == [36, 35, 35, 34, 29]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), 2 * LARGEST_WEIGHT])
def test_an_impossible_weight_is_refused(weight):
    with pytest.raises(ConfigError, match=r"events\.weights.*between 0 and"):
        weights(weight, 60)


@pytest.mark.spark
def test_a_decayed_sum_is_the_floor_of_the_exact_sum(spark):
    """Rows whose fractions add up to one, to less by the last bit, and any others."""
    draw = random.Random(5)
    sums = [
        [(1 << 58, 0), (1, 200)],
        [(1, 1), (1, 1)],
        [*((1, p) for p in range(1, 125)), (1, 124)],
        [*((1, p) for p in range(1, 125)), (1, 125)],
    ]
    sums += [[(draw.randrange(1 << 55), draw.randrange(250)) for _ in range(8)] for _ in range(99)]
    rows = [(key, weight, periods) for key, each in enumerate(sums) for weight, periods in each]
    frame = spark.createDataFrame(rows, "key INT, weight BIGINT, periods INT")
    most = max(periods for _, _, periods in rows)
    told = frame.groupBy("key").agg(fn.expr(decayed("weight", "periods", most)).alias("total")).collect()
    exact = {key: sum(w << (most - p) for w, p in each) >> most for key, each in enumerate(sums)}
    assert {row["key"]: row["total"] for row in told} == exact
    assert exact[2] == exact[3] + 1
