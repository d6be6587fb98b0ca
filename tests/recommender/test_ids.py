import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.ids import Ids

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1))
WORDS = st.lists(st.text(st.characters(codec="utf-8")))


@given(NUMBERS)
def test_codes_of_integers_are_positions_among_the_sorted_distinct(values):
    ids = Ids.of(pa.array(values, pa.int64()))
    assert ids.values.to_pylist() == sorted(set(values))
    assert ids.take(ids.codes(pa.array(values, pa.int64()))).to_pylist() == values


@given(WORDS)
def test_strings_are_in_the_order_of_their_utf8_bytes(values):
    ids = Ids.of(pa.array(values, pa.string()))
    assert ids.values.to_pylist() == sorted(set(values), key=lambda text: text.encode())
    assert ids.take(ids.codes(pa.array(values, pa.string()))).to_pylist() == values


@given(NUMBERS, NUMBERS)
def test_what_is_unknown_has_no_code(known, asked):
    codes = Ids.of(pa.array(known, pa.int64())).codes(pa.array(asked, pa.int64()))
    assert codes.dtype == np.int32
    assert [code >= 0 for code in codes] == [value in set(known) for value in asked]


def test_null_is_no_id():
    ids = Ids.of(pa.array([3, None, 1], pa.int64()))
    assert len(ids) == 2
    assert ids.codes(pa.array([None, 3], pa.int64())).tolist() == [-1, 1]


def test_chunks_are_one():
    chunked = pa.chunked_array([pa.array([5, 1]), pa.array([5, 3])])
    assert Ids.of(chunked).codes(chunked).tolist() == [2, 0, 2, 1]


def test_equal_when_the_values_are():
    assert Ids.of(pa.array([2, 1])) == Ids(pa.array([1, 2]))
    assert Ids.of(pa.array([2, 1])) != Ids.of(pa.array([2, 3]))


def test_a_code_beyond_the_last_is_refused():
    with pytest.raises(pa.ArrowIndexError):
        Ids.of(pa.array([1, 2])).take(np.array([-1], np.int32))
