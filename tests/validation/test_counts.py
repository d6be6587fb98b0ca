"""Counts by Arrow against a judgement of each rule in plain Python, on small and hostile tables."""

import math
from collections import Counter
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from validation.counts import Distinct, Duplicates, Total, in_batches, tally
from validation.expectations import judge
from validation.rules import Expectation, between, not_null, unique

FLOAT32_MAX = 3.4028234663852886e38


def in_pieces(frame, size):
    """The rows of a frame, so many at a time."""
    return lambda columns: frame.select(columns).to_batches(max_chunksize=size)


def is_missing(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def against(values, expectation):
    """How many values break a rule; every value alone, without Arrow."""
    named = expectation.arguments
    if expectation.kind == "ColumnValuesToNotBeNull":
        return sum(map(is_missing, values))
    there = [value for value in values if not is_missing(value)]
    if expectation.kind == "ColumnValuesToBeInSet":
        return sum(value not in named["value_set"] for value in there)
    low, high = named["min_value"], named["max_value"]
    return sum((low is not None and value < low) or (high is not None and value > high) for value in there)


def test_a_bound_is_the_number_that_is_written():
    """A row of 9999.99 was against a bound of 9999.99, whose double is a little less."""
    for written in ("9999.99", "0.29", "19.99", "500.01", "999999.99", "-9999.99"):
        frame = pa.table({"x": pa.array([Decimal(written)], pa.decimal128(18, 2))})
        bound = float(written)
        (one,) = tally(in_batches(frame), [between("x", bound, bound)])
        assert (written, one.against) == (written, 0)


def doubled(keys):
    """How many rows have a key that another row has; a key without any part is none."""
    there = [key for key in keys if any(part is not None for part in key)]
    times = Counter(there)
    return sum(times[key] > 1 for key in there)


def counted(frame, expectation, size=3):
    (one,) = tally(in_pieces(frame, size), [expectation])
    assert one.rows == len(frame)
    assert bool(one.examples) == bool(one.against)
    assert len(one.examples) <= 3
    return one.against


numbers = st.sampled_from(
    [0.0, -0.0, 1.0, -1.5, 3.3e38, FLOAT32_MAX, -1e-45, math.inf, -math.inf, math.nan, None]
)
bounds = st.sampled_from([None, 0, 1, -1, 3.4e38, 0.5])


@given(st.lists(numbers | st.floats(width=32), max_size=12), bounds, bounds)
def test_floats(values, low, high):
    frame = pa.table({"x": pa.array(values, pa.float32(), from_pandas=False)})
    for rule in (between("x", low, high), not_null("x")):
        assert counted(frame, rule) == against(frame["x"].to_pylist(), rule)


most = 10**18 - 1
cents = st.sampled_from([0, 1, -1, most, -most, 10**17, 2**53 + 1]) | st.integers(-most, most)
decimal_bounds = st.sampled_from(
    [None, 0, 0.005, -0.004, 1, 10**16, 10**30, -(10**30), 3.4e38]
) | st.decimals(-(10**16), 10**16, allow_nan=False, places=3)


@given(st.lists(st.none() | cents, max_size=12), decimal_bounds, decimal_bounds)
@example([most], 10**16, None)
def test_decimals_are_compared_exactly(values, low, high):
    """Through doubles 10^16 - .01 is 10^16: what was just below a bound was on it."""
    exact = [None if value is None else Decimal(value).scaleb(-2) for value in values]
    frame = pa.table({"x": pa.array(exact, pa.decimal128(18, 2))})
    for rule in (between("x", low, high), not_null("x")):
        assert counted(frame, rule) == against(exact, rule)


whole = st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.none() | whole, max_size=12), decimal_bounds | whole, decimal_bounds | whole)
def test_integers_are_compared_exactly(values, low, high):
    rule = between("x", low, high)
    assert counted(pa.table({"x": pa.array(values, pa.int64())}), rule) == against(values, rule)


@given(st.lists(st.none() | st.sampled_from(["", "buy", "Buy", "view", "b\0y"]), max_size=8))
def test_sets_of_text(values):
    rule = Expectation("known", "ColumnValuesToBeInSet", {"column": "x", "value_set": ["buy", ""]})
    frame = pa.table({"x": pa.array(values, pa.string())})
    for asked in (rule, not_null("x")):
        assert counted(frame, asked) == against(values, asked)


texts = st.none() | st.sampled_from(["", "a", "b", "A", "a\0", "ä", "0"])
keys = st.none() | st.sampled_from([0, -1, 1, 2**63 - 1, 2**53, 2**53 + 1])


@given(st.lists(st.tuples(keys, texts), max_size=14), st.integers(1, 5), st.integers(1, 40))
def test_keys_are_counted_exactly_in_any_memory_and_any_cut(rows, size, most):
    frame = pa.table(
        {
            "u": pa.array([u for u, _ in rows], pa.int64()),
            "s": pa.array([s for _, s in rows], pa.string()),
        }
    )
    for columns in (["u"], ["s"], ["u", "s"]):
        counter = Duplicates(unique(*columns), most)
        for batch in in_pieces(frame, size)(columns):
            counter.add(batch)
        found = counter.tally(in_pieces(frame, size))
        asked = [tuple(row[name] for name in columns) for row in frame.to_pylist()]
        assert found.against == doubled(asked)
        assert found.rows == len(frame)
        assert all(asked.count(key if len(columns) > 1 else (key,)) > 1 for key in found.examples)


@pytest.mark.parametrize("most", [100, 1000, 1 << 20])
def test_two_rows_of_one_key_are_found_among_many_however_few_are_held(most):
    users = [*range(5000), 4321]
    (found,) = [Duplicates(unique("u"), most)]
    rows = in_pieces(pa.table({"u": users}), 100)
    for batch in rows(["u"]):
        found.add(batch)
    told = found.tally(rows)
    assert (told.rows, told.against, told.examples) == (5001, 2, (4321,))


def test_keys_whose_hashes_are_equal_are_told_apart(monkeypatch):
    """A hash only says which keys to look at."""
    import numpy as np

    from validation import counts

    monkeypatch.setattr(counts, "_hash", lambda values: np.zeros(len(values), np.uint64))
    assert counted(pa.table({"u": [1, 2, 3]}), unique("u")) == 0
    assert counted(pa.table({"u": [1, 2, 1]}), unique("u")) == 2


@settings(max_examples=25)
@given(st.lists(st.tuples(keys, numbers), max_size=9))
def test_the_verdict_is_whether_any_row_is_against_it(rows):
    frame = pa.table(
        {"u": pa.array([u for u, _ in rows], pa.int64()), "x": pa.array([x for _, x in rows], pa.float32())}
    )
    rules = [not_null("u"), unique("u"), between("x", 0, 3.4e38), not_null("x")]
    values = {name: frame[name].to_pylist() for name in "ux"}
    expected = [
        against(values["u"], rules[0]),
        doubled([(u,) for u in values["u"]]),
        against(values["x"], rules[2]),
        against(values["x"], rules[3]),
    ]
    checks = judge(tally(in_batches(frame), rules))
    assert [check.passed for check in checks] == [count == 0 for count in expected]
    assert [check.found.split(" (")[0] for check in checks] == [
        f"{count} of {len(rows)} rows against it" for count in expected
    ]


def test_other_counters_share_the_pass():
    users, total = Distinct("u"), Total("x")
    read = []

    frame = pa.table({"u": [1, 2, 1, None, 2], "x": [1.0, 2.0, None, 3.0, 0.5]})

    def rows(columns):
        read.append(list(columns))
        return in_pieces(frame, 2)(columns)

    tally(rows, [not_null("u")], [users, total])
    assert read == [["u", "x"]]
    assert (users.value, total.value) == (3, 6.5)
    assert (Distinct("u").value, Total("x").value) == (0, 0)
