import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def shop(module):
    return module("night_data").SIZES["M"].changed(users=30, items=20, rows=405, days=10)


def test_a_longer_history_ends_in_the_same_days(module, shop):
    days, longer = (
        list(module("night_data").Generator(each).each_day()) for each in (shop, shop.grow("history"))
    )
    assert [len(rows) for _, rows in days] == [41, 40] * 5
    assert len(longer) == 40
    assert longer[-10:] == days


def test_no_row_of_a_day_is_there_twice(module, shop):
    for _, rows in module("night_data").Generator(shop).each_day():
        assert len(rows.group_by(["user", "item", "at"]).aggregate([])) == len(rows)


def test_the_tables_stand_between_the_marks(module, shop, tmp_path):
    table, page = module("night_table"), tmp_path / "page.md"
    page.write_text(f"before\n\n{table.BEGIN}\n\nold\n\n{table.END}\n\nafter\n")
    runs = [_run(shop, 10.0), _run(shop.grow("users"), 30.0), _run(shop, 12.0)]
    table.write_page(runs, page)
    written = page.read_text()
    assert written.startswith(f"before\n\n{table.BEGIN}\n\n### M: 30 users, 20 items, 405 rows, 10 days\n")
    assert written.endswith(f"\n\n{table.END}\n\nafter\n")
    assert "| `train` | 2024-12-31 | 5.0 | 12.0 | 1.50 | 2.00 | 0.50 | 0.1 | c |" in written
    assert "| M | users | `train` | 12.0 -> 30.0 | 2.50 | 1.50 -> 1.50 | 1.00 |" in written
    assert "| polars 2.1.0 | 3.0 | 0.25 | 5.0 | 1.50 |" in written
    assert "old" not in written
    table.write_page(runs, page)
    assert page.read_text() == written


def test_figures_that_were_not_taken_again_stay_with_their_commit(module, shop):
    first, second = _run(shop, 10.0), _run(shop, 20.0) | {"commit": "abcdefghij"}
    first["stages"] = [first["stages"][0] | {"day": f"2024-12-{day}"} for day in (31, 24)]
    written = module("night_table").tables([first, second])
    assert "commit c, abcdefghij." in written
    rows = [line for line in written.splitlines() if line.startswith("| `train`")]
    assert [[*line.split(" | ")[1:4:2], line.split(" | ")[-1]] for line in rows] == [
        ["2024-12-24", "10.0", "c |"],
        ["2024-12-31", "20.0", "abcdefg |"],
    ]


def _run(shop, cpu):
    machine = {"cpu": "x", "cores": 2, "memory_gib": 4, "flags": ["avx2"], "python": "3.11.7", "nice": 0}
    figures = {"day": "2024-12-31", "wall": 5.0, "peak_gib": 1.5, "read": 2e9, "written": 5e8, "load": 0.1}
    stages = [
        {"what": "train", "cpu": cpu, **figures},
        {"what": "features by nightjar", "cpu": 12.0, **figures},
        {"what": "features by polars", "version": "2.1.0", "cpu": 3.0, **figures},
    ]
    return {**vars(shop), "machine": machine, "commit": "c", "settings": {}, "stages": stages}
