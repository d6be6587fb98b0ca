import importlib.util
import json
import math
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "week.py"


@pytest.fixture(scope="module")
def week():
    spec = importlib.util.spec_from_file_location("week", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def raw(tmp_path) -> str:
    """Household 1 buys 10 and 11 in the week and 12 after it; household 2 buys 20; 3 buys nothing."""
    rows = [
        (1, 10, "2017-09-29 10:00"),
        (1, 12, "2017-09-30 23:59"),
        (3, 10, "2017-09-30 10:00"),
        (1, 10, "2017-10-01 00:00"),
        (1, 10, "2017-10-02 00:00"),
        (1, 11, "2017-10-07 23:59"),
        (1, 12, "2017-10-08 00:00"),
        (2, 20, "2017-10-03 00:00"),
    ]
    households, products, stamps = zip(*rows, strict=True)
    table = pa.table({"household_id": households, "product_id": products, "transaction_timestamp": stamps})
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path)
    return str(path)


def loaded(week, raw):
    database = duckdb.connect()
    week._load_rows(database, raw, "2017-09-30")
    week._rank_baselines(database)
    return database


def test_truth_is_the_seven_days_after_and_nobody_is_left_out(week, raw):
    """Personal frequency gives household 1 the products 12, 10: a hit at rank 2 of two true items."""
    ndcg, households, listed = week.score(loaded(week, raw), "personal_frequency")
    first = (1 / math.log2(3)) / (1 + 1 / math.log2(3))
    assert ndcg == pytest.approx(first / 2)
    assert (households, listed) == (2, 1)


def test_a_release_is_read_from_its_lists(week, raw, tmp_path):
    folder = tmp_path / "releases" / "2017-09-30-abc"
    (folder / "lists").mkdir(parents=True)
    lists = pa.table({"user_id": [1, 2], "item_ids": [[11, 10], [20, 7]]})
    pq.write_table(lists, folder / "lists" / "00.parquet")
    database = loaded(week, raw)
    week._rank_release(database, folder)
    assert week.score(database, "release") == (pytest.approx(1), 2, 2)


def test_the_release_published_last_is_scored(week, tmp_path):
    (tmp_path / "ledger").mkdir()
    for sequence, release in enumerate(["2017-09-30-old", "2017-09-30-new", "2017-10-01-x"], 1):
        entry = {"releases": [{"release_id": release}]}
        (tmp_path / "ledger" / f"{sequence:012d}.json").write_text(json.dumps(entry))
    assert week._release_of(tmp_path, "2017-09-30") == "2017-09-30-new"
    with pytest.raises(SystemExit, match="no release of 2017-09-29"):
        week._release_of(tmp_path, "2017-09-29")
