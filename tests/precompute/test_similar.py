import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightjar_reader import format as fmt
from precompute import similar
from recommender.ids import Ids

FACTORS = np.array([[2, 0], [3, 0], [1, 1], [0, 5]], np.float32)


def test_neighbours_are_the_others_by_cosine_ties_by_code():
    found = similar.neighbours(similar.unit_rows(FACTORS), 2)
    assert found.items.reshape(4, 2).tolist() == [[1, 2], [0, 2], [0, 1], [2, 0]]
    assert found.scores[0] == 1


def test_of_asks_for_some():
    found = similar.neighbours(similar.unit_rows(FACTORS), 3, of=np.array([3]))
    assert found.items.tolist() == [2, 0, 1]


def test_files_name_ids_in_their_bucket(tmp_path):
    found = similar.neighbours(similar.unit_rows(FACTORS), 2)
    similar.write(tmp_path, Ids(pa.array(["a", "b", "c", "d"])), found, 3, "string")
    rows = {}
    for bucket in range(3):
        for row in pq.read_table(tmp_path / fmt.similar_path(bucket)).to_pylist():
            assert fmt.bucket(row["item_id"], 3) == bucket
            rows[row["item_id"]] = row["item_ids"]
    assert rows == {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"], "d": ["c", "a"]}


def test_an_only_item_has_no_neighbours(tmp_path):
    found = similar.neighbours(similar.unit_rows(FACTORS[:1]), 2)
    similar.write(tmp_path, Ids(pa.array([5])), found, 1, "int64")
    assert pq.read_table(tmp_path / fmt.similar_path(0)).to_pylist() == [
        {"item_id": 5, "item_ids": [], "scores": []}
    ]
