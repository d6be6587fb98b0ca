import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MB = 10**6


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("many_nights")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("mlflow.db", "."),
        ("logs/spark/a.log", "logs"),
        ("lake/records/train/2024-01-01/000000000001.json", "lake/records"),
        ("lake/user_features/0123/as_of=2024-01-01/part.parquet", "lake/user_features"),
        ("lake/user_features/_delta_log/0.json", "_delta_log"),
        ("lake/published/releases/x/lists/00.parquet", "lake/published/releases"),
    ],
)
def test_a_file_is_counted_where_it_lies(bench, path, kind):
    assert bench.kind(Path(path)) == kind


def put(folder, path, text):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def test_sizes_and_what_is_there_twice(bench, tmp_path):
    put(tmp_path, "lake/bundles/a/one", "x" * 10)
    put(tmp_path, "lake/bundles/b/two", "x" * 10)
    put(tmp_path, "lake/published/releases/r/three", "x" * 10)
    put(tmp_path, "lake/records/four", "y" * 7)
    assert bench.sizes(tmp_path) == {"lake/bundles": 20, "lake/published/releases": 10, "lake/records": 7}
    assert bench.twice(tmp_path) == {"lake/bundles, lake/published/releases": 20}


def test_what_a_night_says_of_its_training_is_counted(bench):
    lines = [
        "retrieval as of 2024-01-01: fitted",
        "retrieval as of 2023-12-25: an earlier night made it",
        "ranking set as of 2023-12-18: made",
        "ranking set as of 2023-12-11: an earlier night made it",
    ]
    assert [bench.count(lines, what) for what in (bench.FITTED, bench.MADE)] == [1, 1]


def test_a_run_keeps_its_figures_night_by_night(bench, tmp_path, monkeypatch):
    folder, results, commands = tmp_path / "home", tmp_path / "results.json", []
    shop = importlib.import_module("night_data").SIZES["M"].changed(users=3, items=4, rows=5, days=6)
    put(folder, "shop.json", json.dumps(vars(shop)))

    def measure(command, environment):
        """A night that writes a file, and says what it made."""
        commands.append(command[1:])
        put(folder, f"lake/bundles/{len(commands)}", "x" * len(commands))
        kept = json.loads(results.read_text()) if results.exists() else []
        assert [len(run["nights"]) for run in kept] == ([len(commands) - 2] if len(commands) > 2 else [])
        lines = ["retrieval as of 2024-12-30: fitted", "another line"]
        figures = dict.fromkeys(bench.COLUMNS, 1.0)
        return {"code": 0, "output": [], "steps": [{"log": line} for line in lines], **figures}

    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench, "RESULTS", results)
    bench._Bench(folder).run(2)
    put(folder, "shop.json", json.dumps(vars(shop.changed(users=4))))
    bench._Bench(folder)._keep()
    bench._Bench(folder)._keep()
    first, *nights = commands
    assert first == ["bootstrap", "--from", "2024-12-26", "--to", "2024-12-29"]
    assert nights == [["run", "night", "--partition", f"2024-12-{day}"] for day in (30, 31)]
    [run, another] = json.loads(results.read_text())
    assert (another["users"], another["nights"]) == (4, [])
    assert [(night["day"], night["fits"], night["sets"]) for night in run["nights"]] == [
        ("2024-12-30", 1, 0),
        ("2024-12-31", 1, 0),
    ]
    assert [night["sizes"]["lake/bundles"] for night in run["nights"]] == [3, 6]
    assert bench.tables([run]).count("| 2024-12-3") == 2


def test_the_table_tells_nights_per_hour_and_what_a_late_night_adds(bench):
    nights = [
        {"day": f"2024-01-{at:02}", "wall": 100.0, "cpu": 50.0, "peak_gib": 1.5, "fits": 1, "sets": 1,
         "load": 0.5, "sizes": {"lake/bundles": at * MB, "lake/raw": 5 * MB, "logs": at}}
        for at in range(1, 11)
    ]  # fmt: skip
    machine = {"cpu": "x", "cores": 2, "memory_gib": 4, "flags": ["avx2"], "python": "3.11.7", "nice": 0}
    run = {
        "machine": machine, "commit": "c", "settings": {}, "nights": nights, "before": {"lake/raw": 5 * MB},
        "size": "M", "grown": "", "quick": False, "users": 3, "items": 4, "rows": 5, "days": 6,
        "bootstrap": {"sizes": {"lake/raw": 5 * MB}}, "twice": {"lake/bundles": 2 * MB, "logs": 1},
    }  # fmt: skip
    told = bench.tables([{**run, "nights": []}, run])
    assert "10 nights one after the other, 2024-01-01 to 2024-01-10: 36.0 nights per hour" in told
    assert "| 2024-01-02 | 100 | 50 | 1.50 | 1 | 1 | 1.0 | 0.5 |" in told
    assert "| lake/bundles | 0.00 | 0.00 | 10.00 | 1.00 |" in told
    assert "| together, without lake/raw | 0.00 | 0.00 | 10.00 | 1.00 |" in told
    assert "| lake/bundles | 2.00 |" in told
    assert "| logs |" not in told
