import numpy as np
import pytest

from recommender.matrix import FEATURES
from training.set_files import RankingSet, SetFile, SetFiles


def part(rows: int, first: int) -> RankingSet:
    """Rows in which every number tells its place; one feature is unknown."""
    features = np.arange(rows * len(FEATURES), dtype=np.float32).reshape(rows, len(FEATURES)) + first
    features[0, 0] = np.nan
    labels = (np.arange(rows) % 3 == 0).astype(np.float32)
    weights = np.linspace(0.1, 1, rows).astype(np.float32)
    return RankingSet(features, labels, weights, np.arange(first, first + rows, dtype=np.int32))


def same(one: RankingSet, two: RankingSet) -> bool:
    return all(np.array_equal(vars(one)[name], vars(two)[name], equal_nan=True) for name in vars(one))


@pytest.fixture
def parts() -> list[RankingSet]:
    return [part(4, 0), part(1, 10), part(7, 20)]


def test_parts_come_back_as_they_were(tmp_path, parts):
    file = SetFile.write(tmp_path / "set.arrow", iter(parts), users=20, taken=12)
    for _ in range(2):  # XGBoost goes over them several times
        read = list(file.parts())
        assert [one.features.dtype for one in read] == [np.float32] * 3
        assert all(same(one, two) for one, two in zip(read, parts, strict=True))
    again = SetFile(tmp_path / "set.arrow")
    assert (again.users, again.taken, again.rows, again.positives) == (20, 12, 12, 2 + 1 + 3)


def test_a_set_without_a_row(tmp_path):
    file = SetFile.write(tmp_path / "set.arrow", [], users=3, taken=2)
    assert list(file.parts()) == []
    assert (file.users, file.taken, file.rows, file.positives) == (3, 2, 0, 0)


def test_same_parts_same_bytes(tmp_path, parts):
    for name in ("one", "two"):
        SetFile.write(tmp_path / name, iter(parts), users=20, taken=12)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_snapshots_are_their_files(tmp_path, parts):
    files = (
        SetFile.write(tmp_path / "one", parts[:1], users=20, taken=12),
        SetFile.write(tmp_path / "two", parts[1:], users=5, taken=5),
    )
    whole = SetFiles(files)
    assert (whole.users, whole.taken, whole.rows, whole.positives) == (25, 17, 12, 6)
    assert all(same(one, two) for one, two in zip(whole.parts(), parts, strict=True))
    assert SetFiles().rows == 0
