import numpy as np
import pytest
from annoy import AnnoyIndex

from lake.sections import IndexSection
from precompute import annoy_index, similar


@pytest.fixture(scope="module")
def units():
    return similar.unit_rows(np.random.default_rng(0).standard_normal((1500, 8)).astype(np.float32))


def test_takes_the_first_number_of_trees_that_is_enough(units, tmp_path):
    config = IndexSection(trees=(1, 30, 60), search_k=200, recall_at=10, queries=100)
    built = annoy_index.build(tmp_path / "index", units, config)
    assert built.index.trees == 30
    assert built.index.recall >= 0.95
    assert built.index.bytes == (tmp_path / "index").stat().st_size
    assert built.warnings == ()


def test_the_recall_is_that_of_the_file(units, tmp_path):
    config = IndexSection(trees=(5,), search_k=100, recall_at=10, recall_floor=0.1, queries=1500)
    built = annoy_index.build(tmp_path / "index", units, config)
    index = AnnoyIndex(8, "angular")
    index.load(str(tmp_path / "index"))
    exact = np.argsort(-(units @ units.T + np.diag(np.full(1500, -9))), axis=1, kind="stable")[:, :10]
    hits = [len(set(index.get_nns_by_item(code, 11, 100)) & set(exact[code])) for code in range(1500)]
    assert built.index.recall == pytest.approx(sum(hits) / 15000, abs=1e-4)
    assert built.index.recall < 0.95


def test_below_the_floor_there_is_no_file_and_a_warning(units, tmp_path):
    built = annoy_index.build(
        tmp_path / "index", units, IndexSection(trees=(1,), search_k=10, recall_at=10, queries=50)
    )
    assert built.index is None
    assert "items.ann is left out: recall@10" in built.warnings[0]
    assert not (tmp_path / "index").exists()


def test_equal_distances_count_as_found(tmp_path):
    same = similar.unit_rows(np.ones((300, 4), np.float32))
    built = annoy_index.build(
        tmp_path / "index", same, IndexSection(trees=(1,), search_k=50, recall_at=10, queries=300)
    )
    assert built.index.recall == 1


def test_the_same_factors_give_the_same_bytes(units, tmp_path):
    config = IndexSection(trees=(3,), recall_floor=0.001, queries=10)
    for name in ("a", "b"):
        annoy_index.build(tmp_path / name, units, config)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_one_item_has_nothing_to_find(tmp_path):
    built = annoy_index.build(tmp_path / "index", np.array([[1, 0]], np.float32), IndexSection())
    assert built.index.recall == 1
