"""`top_n` against a full sort of the scores as they are defined."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from topn import exact, metric, top_n


def scores_of(user, items):
    """The float64 dot product in index order, rounded to float32."""
    products = user.astype(np.float64) * items.astype(np.float64)
    return np.cumsum(products, axis=1)[:, -1].astype(np.float32) + np.float32(0)


def sorted_list(user, items, n, hidden, allowed):
    codes = np.setdiff1d(np.flatnonzero(allowed), hidden)
    scores = scores_of(user, items[codes])
    best = np.lexsort((codes, -scores))[:n]
    return codes[best].tolist(), scores[best].tobytes()


def assert_exact(users, items, n, exclude=None, allowed=None, **options):
    best = top_n(users, items, n, exclude=exclude, allowed=allowed, **options)
    mask = np.ones(len(items), bool) if allowed is None else allowed
    for user, (start, stop) in enumerate(zip(best.indptr[:-1], best.indptr[1:], strict=True)):
        hidden = [] if exclude is None else exclude[user].indices
        expected = sorted_list(users[user], items, n, hidden, mask)
        assert (best.items[start:stop].tolist(), best.scores[start:stop].tobytes()) == expected
    return best


def normal(rows, factors, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, factors)).astype(np.float32)


def some_exclusions(users, items, share, seed=0):
    return csr_matrix(np.random.default_rng(seed).random((users, items)) < share)


VALUES = st.sampled_from([-2.0, -1.0, -0.1, 0.0, 1e-30, 0.1, 0.3, 1.0, 1e10])


@st.composite
def problems(draw):
    users, items, factors = draw(st.integers(1, 6)), draw(st.integers(1, 40)), draw(st.integers(1, 5))

    def rows(count):
        values = draw(st.lists(VALUES, min_size=count * factors, max_size=count * factors))
        return np.array(values, np.float32).reshape(count, factors)

    hidden = draw(st.lists(st.booleans(), min_size=users * items, max_size=users * items))
    allowed = draw(st.lists(st.booleans(), min_size=items, max_size=items))
    n = draw(st.integers(1, 50))
    return rows(users), rows(items), n, csr_matrix(np.reshape(hidden, (users, items))), np.array(allowed)


@given(problems())
@settings(max_examples=200)
def test_equals_a_full_sort(problem):
    assert_exact(*problem, threads=1)


@pytest.fixture
def _small_tiles_and_a_metric(monkeypatch):
    small_tiles_and_a_metric(monkeypatch)


def small_tiles_and_a_metric(patch):
    """What else only large problems have."""
    for name in ("FIRST_ITEMS", "TILE_ITEMS"):
        patch.setattr(exact, name, 8)
    patch.setattr(metric, "ROWS_A_FACTOR", 1)


@given(problems())
@settings(max_examples=200)
def test_equals_a_full_sort_in_small_tiles_and_another_metric(problem):
    with pytest.MonkeyPatch.context() as patch:
        small_tiles_and_a_metric(patch)
        assert_exact(*problem, threads=1)


@pytest.mark.parametrize("n", [1, 7, 700, 3000])
def test_random_factors_with_exclusions_and_a_mask(n):
    users, items = (
        normal(40, 16),
        normal(2000, 16, seed=1) * np.linspace(0.1, 3, 2000, dtype=np.float32)[:, None],
    )
    allowed = np.random.default_rng(2).random(2000) < 0.7
    assert_exact(users, items, n, some_exclusions(40, 2000, 0.3), allowed)


HARD_ITEMS = [
    pytest.param(np.repeat(normal(2, 8), 2000, axis=0), id="thousands of equal items"),
    pytest.param(np.zeros((1500, 8), np.float32), id="zero vectors"),
    pytest.param(normal(1, 8) * np.float32([[1], [-1]])[np.arange(3000) % 2], id="two opposites"),
    pytest.param(normal(1500, 8) * np.float32(5e18), id="nearly too large"),
    pytest.param(normal(1, 8), id="one item"),
    pytest.param(normal(1500, 8) / np.linalg.norm(normal(1500, 8), axis=1, keepdims=True), id="equal norms"),
    pytest.param(
        normal(1500, 8) * np.where(np.arange(1500) == 9, 1e6, 1).astype(np.float32)[:, None], id="a giant"
    ),
    pytest.param(-np.abs(normal(1500, 8)), id="negative scores only"),
    pytest.param(np.round(normal(1500, 8)), id="many ties"),
    pytest.param(normal(1500, 8) * np.float32(1e-40), id="below the smallest normal number"),
]


@pytest.mark.parametrize("items", HARD_ITEMS)
def test_hard_items(items):
    users = np.concatenate([np.abs(normal(5, 8)), np.zeros((1, 8), np.float32)])
    assert_exact(users, items, 20)
    assert_exact(users, items, 20, some_exclusions(6, len(items), 0.9))


@pytest.mark.usefixtures("_small_tiles_and_a_metric")
@pytest.mark.parametrize("items", HARD_ITEMS)
def test_hard_items_in_small_tiles_and_another_metric(items):
    test_hard_items(np.concatenate([items] * (8 // len(items) + 1)))


@pytest.mark.parametrize("n", [5000, 2**31, 2**63 - 1, np.int64(2**63 - 1), 2**70])
def test_as_many_as_there_are(n):
    users, items = normal(3, 4), normal(40, 4, seed=1)
    assert_exact(users, items, n, some_exclusions(3, 40, 0.3))


def test_nearly_equal_scores_are_told_apart():
    by = np.random.default_rng(0).integers(-2, 3, (3000, 64)) * 2.0**-23
    items = (normal(1, 64) * (1 + by)).astype(np.float32)
    assert_exact(normal(20, 64), items, 10)


@pytest.mark.parametrize("fillers", [0, 2000])
def test_an_item_is_kept_whose_computed_score_is_off_as_far_as_can_be(fillers):
    """What is added is just above or below half of a last digit: all rounded up, or all lost."""
    user = np.full((1, 64), 2.0**-12, np.float32)
    user[0, 0] = 1
    up, lost = np.full((2, 64), [[1.001 * 2.0**-12], [0.999 * 2.0**-12]], np.float32)
    up[0], lost[0] = 1, 1 + 2.0**-22
    less = np.where(np.arange(64) == 63, 0, up).astype(np.float32)  # so that the floor is just below `up`
    items = np.stack([up, lost, less, *np.zeros((fillers, 64), np.float32)])
    assert assert_exact(user, items, 1).items.tolist() == [1]


def test_an_item_that_barely_counts_is_met():
    before = np.full((1000, 2), [0.9999, 2], np.float32)
    before[:, 1] += np.arange(1000) / 1000
    last = np.full((300, 2), [1, 0], np.float32)
    best = assert_exact(np.array([[1, 0]], np.float32), np.concatenate([before, last]), 50)
    assert best.items.tolist() == list(range(1000, 1050))


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 1},
        {"threads": 2},
        {"memory_mib": 0},
        {"memory_mib": 1},
        {"shares": 2},
        {"tile": 48},
        {"tile": 1000},
    ],
)
def test_threads_memory_and_tiles_change_nothing(options, monkeypatch):
    users, items = normal(300, 32), normal(3000, 32, seed=1)
    expected = top_n(users, items, 50)
    monkeypatch.setattr(exact, "TILE_ITEMS", options.pop("tile", exact.TILE_ITEMS))
    monkeypatch.setattr(exact, "MOST_SHARES", options.pop("shares", exact.MOST_SHARES))
    best = top_n(users, items, 50, **options)
    assert best.items.tobytes() == expected.items.tobytes()
    assert best.scores.tobytes() == expected.scores.tobytes()


def _resident(what):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def _taken(users, items, memory_mib):
    """MiB that a call takes beside its result."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _resident("VmRSS")
    best = top_n(users, items, 4000, threads=4, memory_mib=memory_mib)
    return _resident("VmHWM") - before - (best.items.nbytes + best.scores.nbytes) / 2**20


def test_a_call_takes_no_more_memory_than_it_may():
    """It would take about 35 MiB: how much depends on the processor, so it is bounded from above alone."""
    users, items = normal(1920, 4), normal(50_000, 4, seed=1)
    _taken(users, items, 1)  # what is compiled and imported does not count
    assert _taken(users, items, 8) < 14


def test_a_user_gets_the_same_list_alone():
    users, items = normal(100, 32), normal(3000, 32, seed=1)
    together, alone = top_n(users, items, 10), top_n(users[42:43], items, 10)
    assert together.items[420:430].tolist() == alone.items.tolist()


def _least_share(users, items, n):
    """The share of products without which a floor that is always exact would not end the users."""
    items = items[np.argsort(-np.linalg.norm(items, axis=1))]
    bounds = np.linalg.norm(users, axis=1)[:, None] * np.linalg.norm(items, axis=1)
    scores, met = users @ items.T, np.full(len(users), len(items))
    for stop in reversed(range(exact.TILE_ITEMS, len(items), exact.TILE_ITEMS)):
        met[np.partition(scores[:, :stop], -n, axis=1)[:, -n] > bounds[:, stop]] = stop
    return met.mean() / len(items)


def test_few_more_products_are_computed_than_an_exact_floor_would_need():
    fading = np.exp(-np.arange(20_000) / 2000).astype(np.float32)
    users, items = normal(300, 8), normal(20_000, 8, seed=1) * fading[:, None]
    share = top_n(users, items, 100).computed / _least_share(users, items, 100)
    assert 1 <= share < 1.05


def test_equal_items_past_what_a_list_can_need_are_left_out_of_the_work():
    items = np.repeat(normal(1, 8), 3000, axis=0)
    pairs = np.repeat([0, 1], [500, 200]), np.r_[:500, 100:300]
    hidden = csr_matrix((np.ones(700), pairs), shape=(3, 3000))
    best = assert_exact(np.repeat(np.abs(normal(1, 8)), 3, axis=0), items, 20, hidden)
    assert best.items[::20].tolist() == [500, 0, 0]
    assert best.computed < 0.5


def test_arrays_of_any_layout_will_do():
    users, items = normal(30, 16), normal(200, 16, seed=1)
    exclude = some_exclusions(30, 200, 0.3)
    expected = top_n(users, items, 5, exclude=exclude)
    items.flags.writeable = False
    exclude.indices, exclude.indptr = exclude.indices.astype(np.int64), exclude.indptr.astype(np.int64)
    best = top_n(np.asfortranarray(users), items, 5, exclude=exclude)
    assert best.items.tobytes() == expected.items.tobytes()
    assert best.scores.tobytes() == expected.scores.tobytes()


def test_who_has_seen_everything_gets_an_empty_list():
    best = top_n(normal(2, 4), normal(3, 4), 2, exclude=csr_matrix([[1, 1, 1], [0, 1, 0]]))
    assert best.indptr.tolist() == [0, 0, 2]


def test_a_stored_zero_excludes_and_a_repeated_one_counts_once():
    exclude = csr_matrix((np.zeros(3), np.array([1, 1, 0]), np.array([0, 3, 3])), shape=(2, 4))
    best = top_n(normal(2, 4), normal(4, 4), 4, exclude=exclude)
    assert best.indptr.tolist() == [0, 2, 6]
    assert sorted(best.items[:2].tolist()) == [2, 3]


def test_no_users_and_no_items_give_nothing():
    assert top_n(np.empty((0, 4), np.float32), normal(3, 4), 2).indptr.tolist() == [0]
    assert top_n(normal(2, 4), np.empty((0, 4), np.float32), 2).indptr.tolist() == [0, 0, 0]


def test_a_user_of_zeros_gets_the_first_codes_and_costs_nothing():
    allowed = np.arange(2000) != 1
    best = assert_exact(
        np.zeros((2, 8), np.float32), normal(2000, 8), 3, csr_matrix(([1], ([1], [2])), (2, 2000)), allowed
    )
    assert best.items.tolist() == [0, 2, 3, 0, 3, 4]
    assert best.computed == 0


def test_stops_early_where_norms_differ():
    items = normal(20_000, 16) * np.geomspace(1, 1e-3, 20_000, dtype=np.float32)[:, None]
    assert assert_exact(normal(4, 16), items, 10).computed < 0.5
    assert assert_exact(normal(4, 16), items, 10, prune=False).computed == 1


def test_progress_ends_with_all_users():
    seen = []
    top_n(normal(600, 4), normal(10, 4), 2, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (600, 600)
    assert seen == sorted(seen)


NAN = np.full((2, 4), np.nan, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n is 0: expected at least 1"),
        ({"user_factors": NAN}, "user_factors: row 0"),
        ({"item_factors": np.full((3, 4), np.inf, np.float32)}, "item_factors: row 0"),
        ({"user_factors": normal(2, 5)}, "factors do not fit"),
        ({"user_factors": normal(2, 4).astype(float)}, "expected a float32 array"),
        ({"item_factors": normal(3, 4)[0]}, "expected a float32 array"),
        ({"user_factors": normal(2, 4) * 1e30, "item_factors": normal(3, 4) * 1e30}, "overflow"),
        ({"allowed": np.ones(4, bool)}, r"allowed: expected bool \[3\]"),
        ({"exclude": csr_matrix((2, 4))}, r"exclude: expected CSR \(2, 3\)"),
        ({"exclude": csr_matrix((2, 3)).tocsc()}, r"exclude: expected CSR \(2, 3\), found csc"),
        ({"exclude": np.zeros((2, 3))}, r"exclude: expected CSR \(2, 3\), found ndarray"),
    ],
)
def test_refuses(change, message):
    arguments = {"user_factors": normal(2, 4), "item_factors": normal(3, 4), "n": 2} | change
    with pytest.raises(ValueError, match=message):
        top_n(
            **{
                k: v.astype(np.float32) if "factors" in k and "float32" not in message else v
                for k, v in arguments.items()
            }
        )


def test_refuses_codes_out_of_range():
    exclude = malformed([0, 1, 1], [3])
    with pytest.raises(ValueError, match=r"expected item codes 0\.\.2, found 3\.\.3"):
        top_n(normal(2, 4), normal(3, 4), 2, exclude=exclude)


def malformed(indptr, indices):
    exclude = csr_matrix((2, 3))
    exclude.indptr, exclude.indices, exclude.data = np.array(indptr), np.array(indices), np.ones(len(indices))
    return exclude


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [([0, 5, 3], [0, 1, 2, 0, 1]), ([0, 1, 9], [0, 1]), ([1, 1, 2], [0, 1]), ([0, 1], [0])],
    ids=["falls", "past the end", "begins late", "too short"],
)
def test_refuses_rows_that_are_not_in_their_arrays(indptr, indices):
    with pytest.raises(ValueError, match=r"exclude: expected an indptr \[3\]"):
        top_n(normal(2, 4), normal(3, 4), 2, exclude=malformed(indptr, indices))
