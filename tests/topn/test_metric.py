import numpy as np

from topn import top_n
from topn.metric import RIDGE, ROWS_A_FACTOR, metric_of
from topn.vectors import lengths_in, norms


def rows(count, factors, seed):
    return np.random.default_rng(seed).standard_normal((count, factors)).astype(np.float32)


def alike(count, factors, seed):
    """Rows that share a direction."""
    shifted = rows(count, factors, seed)
    shifted[:, 0] += 6
    return shifted


def bounds(users, items):
    metric = metric_of(users, items)
    return lengths_in(users, metric.users)[:, None] * lengths_in(items, metric.items)


def test_bounds_every_score():
    users, items = alike(800, 8, 0), rows(600, 8, 1)
    scores = users.astype(np.float64) @ items.astype(np.float64).T
    assert (np.abs(scores) <= bounds(users, items) * (1 + 1e-9)).all()


def test_bounds_are_smaller_where_users_share_a_direction():
    users, items = alike(800, 8, 0), rows(600, 8, 1)
    assert bounds(users, items).mean() < 0.8 * np.outer(norms(users), norms(items)).mean()


def test_is_that_of_the_geometric_mean():
    diagonal = np.array([2.0, 1.0, 0.5, 0.25])
    users, items = rows(40_000, 4, 0) * diagonal.astype(np.float32), rows(40_000, 4, 1)

    def moments(rows):
        directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return directions.T @ directions / len(rows) + RIDGE / 4 * np.eye(4)

    metric = metric_of(users, items)
    mean = metric.users @ metric.users.T
    # by definition the one A for which A U A = Y
    assert np.allclose(mean @ moments(users) @ mean, moments(items), atol=0.02)
    assert np.allclose(np.linalg.inv(mean), metric.items @ metric.items.T)


def test_is_left_alone_where_it_takes_longer_than_it_saves():
    few = rows(8 * ROWS_A_FACTOR - 1, 8, 0)
    many = rows(8 * ROWS_A_FACTOR, 8, 1)
    assert [len(metric_of(*pair).users) for pair in ((few, many), (many, few), (many, many))] == [0, 0, 8]


def test_rows_of_zeros_and_of_one_direction_will_do():
    users, items = np.zeros((600, 8), np.float32), np.repeat(rows(1, 8, 0), 600, axis=0)
    assert np.isfinite(bounds(users, items)).all()
    assert top_n(users, items, 2).items[:2].tolist() == [0, 1]


def test_fewer_products_are_computed_where_users_share_a_direction(monkeypatch):
    fading = np.exp(-np.arange(5000) / 1500).astype(np.float32)[:, None]
    users, items = alike(800, 8, 0), rows(5000, 8, 1) * fading
    with_metric = top_n(users, items, 50)
    monkeypatch.setattr("topn.metric.ROWS_A_FACTOR", 10_000)
    without = top_n(users, items, 50)
    assert with_metric.computed < 0.9 * without.computed
    assert with_metric.items.tobytes() == without.items.tobytes()
    assert with_metric.scores.tobytes() == without.scores.tobytes()
