import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import ConfigError
from lake.kinds import LARGEST_WEIGHT
from spark_jobs.weights import decay_table, decay_tables, scale


def test_a_weight_halves_with_each_half_life():
    table = decay_table(1.0, 1)
    assert table[:3] == [scale(1) // 2, scale(1) // 4, scale(1) // 8]
    assert table[-1] == 1


def test_the_event_weight_scales_the_table():
    assert decay_table(2.0, 1)[1:] == decay_table(1.0, 1)


def test_an_event_without_weight_has_an_empty_table():
    assert decay_table(0.0, 60) == []


@given(st.floats(0.001, LARGEST_WEIGHT), st.integers(1, 200))
def test_weights_are_close_to_the_formula_and_fall_with_age(weight, half_life):
    table = decay_table(weight, half_life)
    assert table == sorted(table, reverse=True)
    assert all(
        abs(w / scale(half_life) - weight * 0.5 ** ((age + 1) / half_life)) <= 0.5 / scale(half_life) + 1e-9
        for age, w in enumerate(table)
    )


def test_a_year_of_the_shortest_half_life_is_still_precise():
    found = decay_table(1.0, 15)[364] / scale(15)
    assert found == pytest.approx(0.5 ** (365 / 15), rel=1e-3)


@pytest.mark.parametrize("half_life", [1, 2, 15, 30, 60, 85, 86, 683, 1419, 3650])
def test_the_largest_weights_of_all_ages_fit_a_long_sixteen_times(half_life):
    assert sum(decay_table(LARGEST_WEIGHT, half_life)) < 2**59


def test_a_scale_gives_way_to_long_half_lives_alone():
    assert [scale(days).bit_length() - 1 for days in (1, 60, 85, 86, 3650)] == [36, 36, 36, 35, 30]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), 2 * LARGEST_WEIGHT])
def test_an_impossible_weight_is_refused(weight):
    with pytest.raises(ConfigError, match=r"events\.weights.*between 0 and"):
        decay_tables([1.0, weight], 60)
