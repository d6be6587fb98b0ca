import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightjar_reader import search


def brute(factors: np.ndarray, query: np.ndarray, n: int) -> list[int]:
    scores = search.exact_scores(factors, query)
    return sorted(range(len(factors)), key=lambda code: (-scores[code], code))[:n]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0.0, 1.0, 4.0]), st.booleans())
def test_equals_the_full_scan(seed: int, n: int, skew: float, whole: bool) -> None:
    random = np.random.default_rng(seed)
    factors = random.normal(size=(random.integers(1, 300), 6)) * random.random((1, 6)) ** skew
    factors = (np.rint(factors) if whole else factors).astype(np.float32)
    query = random.normal(size=6).astype(np.float32)
    codes, scores = search.ExactSearch(factors).nearest(query, n)
    assert codes.tolist() == brute(factors, query, n)
    assert scores.tolist() == search.exact_scores(factors[codes], query).tolist()


def test_stops_early_without_losing_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_TILE", 16)
    random = np.random.default_rng(7)
    lengths = 1 / np.arange(1, 501)[:, None]
    factors = (random.permutation(lengths) * search.unit_rows(random.normal(size=(500, 8)))).astype(
        np.float32
    )
    query = random.normal(size=8).astype(np.float32)
    assert search.ExactSearch(factors).nearest(query, 5)[0].tolist() == brute(factors, query, 5)


def test_ties_go_by_code_at_the_cut_too() -> None:
    factors = np.ones((5000, 4), np.float32)
    codes, scores = search.ExactSearch(factors).nearest(np.ones(4, np.float32), 3)
    assert codes.tolist() == [0, 1, 2]
    assert scores.tolist() == [4, 4, 4]


def test_edges() -> None:
    factors = np.zeros((3, 2), np.float32)
    query = np.zeros(2, np.float32)
    assert search.ExactSearch(factors).nearest(query, 9)[0].tolist() == [0, 1, 2]
    assert search.ExactSearch(factors).nearest(query, 0)[0].tolist() == []
    assert search.ExactSearch(factors[:0]).nearest(query, 2)[0].tolist() == []


def test_unit_rows_keep_zero_rows() -> None:
    rows = search.unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    assert rows.tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]
