"""Who has far more rows than others."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.bots import most_rows


@pytest.mark.parametrize(
    ("users", "deviations", "floor", "most"),
    [
        ({1: 1}, 3, 10, 10),
        ({4: 5, 2: 2, 8: 2, 1000: 1}, 3, 1, 4),  # half have the median itself: the floor or it
        ({1: 1, 2: 1, 4: 1, 8: 1, 16: 1}, 1, 1, 8),  # median 4, deviation a factor of 2
        ({1: 1, 2: 1, 4: 1, 8: 1, 16: 1}, 3, 1, 32),
        ({1: 1, 2: 1, 4: 1, 8: 1, 16: 1}, 3, 1000, 1000),
        ({2: 1, 3: 1, 9: 1}, 2, 1, 6),  # median 3, factors 1.5, 1 and 3: 3 x 2.25 is 6.75
        ({10**12: 2, 1: 1}, 100, 5, 10**12),
    ],
)
def test_the_most_rows_that_a_user_may_have(users, deviations, floor, most):
    assert most_rows(users, deviations, floor) == most


@given(st.dictionaries(st.integers(1, 10**6), st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 8))
def test_it_is_the_median_and_the_median_deviation_of_logarithms(users, deviations):
    logs = sorted(math.log(rows) for rows, n in users.items() for _ in range(n))
    median = logs[(len(logs) - 1) // 2]
    spread = sorted(abs(one - median) for one in logs)[(len(logs) - 1) // 2]
    most = most_rows(users, deviations, 1)
    assert most == pytest.approx(math.exp(median + deviations * spread), rel=1e-9, abs=1)


def test_more_users_of_the_same_kind_change_nothing():
    users = {1: 5, 3: 8, 7: 2, 4000: 1}
    assert most_rows(users, 4, 50) == most_rows({rows: 7 * n for rows, n in users.items()}, 4, 50)
