import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightjar_reader import search


def brute(factors: np.ndarray, query: np.ndarray, n: int) -> list[int]:
    scores = search.exact_scores(factors, query)
    return sorted(range(len(factors)), key=lambda code: (-scores[code], code))[:n]


@settings(max_examples=60)
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


def test_near_ties_and_a_giant_lose_none() -> None:
    random = np.random.default_rng(0)
    near = random.normal(size=64) * (1 + random.integers(-2, 3, (6000, 64)) * 2.0**-23)
    for factors in (near.astype(np.float32), random.normal(size=(6000, 64)).astype(np.float32)):
        factors[17] *= 1e6
        query = random.normal(size=64).astype(np.float32)
        for sign in (1, -1):
            assert search.ExactSearch(factors).nearest(sign * query, 9)[0].tolist() == brute(
                factors, sign * query, 9
            )


def test_an_item_that_barely_counts_is_met() -> None:
    before, last = np.full((3000, 2), [0.9999, 2]), np.full((300, 2), [1, 0])
    factors = np.concatenate([before, last]).astype(np.float32)
    codes, _ = search.ExactSearch(factors).nearest(np.array([1, 0], np.float32), 300)
    assert codes.tolist() == list(range(3000, 3300))


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


@pytest.mark.parametrize(
    ("query", "n", "message"),
    [
        ([1, np.nan], 1, "query: expected finite"),
        ([np.inf, 1], 1, "query: expected finite"),
        ([1e30, 0], 1, "query: expected finite"),
        ([1, 1], -1, "n is -1: expected at least 0"),
    ],
)
def test_refuses_what_has_no_answer(query: list[float], n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search.ExactSearch(np.full((3, 2), 1e10, np.float32)).nearest(np.array(query, np.float32), n)


def test_refuses_items_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        search.ExactSearch(np.array([[1, 2], [3, np.nan]], np.float32))


@pytest.mark.parametrize("columns", [0, 8193])
def test_refuses_items_of_no_or_too_many_factors(columns: int) -> None:
    with pytest.raises(ValueError, match=f"{columns}.*: expected 1 to 8192 columns"):
        search.ExactSearch(np.zeros((2, columns), np.float32))


def test_unit_rows_keep_zero_rows() -> None:
    rows = search.unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    assert rows.tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]
