"""What `nightjar plan` says of a shop, by made-up coefficients that are easy to reckon with."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightjar.command import costs
from nightjar.command.cli import app
from nightjar.command.costs import FIRST, LATER, Cost, Costs, Machine, Shop
from nightjar.command.forecast import Forecast, profile

RANGE = (1, 10**9)
MADE_UP = Costs(
    machine={"cpu": "Abacus", "flags": ["avx2"], "cores": 2, "memory_gib": 24},
    commits=("0123456789ab",),
    shops=("M: 200,000 users, 50,000 items, 9,000,000 rows, 60 days",),
    ranges=dict.fromkeys(("items", "events_per_day", "history_days", "pairs"), RANGE)
    | {"users": (2_000, 200_000), "cores": (2, 2)},
    errors={"seconds": 0.21, "cpu_seconds": 0.104, "peak_gib": 0.3},
    stages={
        "bootstrap": Cost({"fixed": 60, "rows": 6e-5}, {"fixed": 2}, 0.5),
        "ingest": Cost({"fixed": 60}, {"fixed": 1, "events_per_day": 1e-6}, 0),
        "features": Cost({"as_of_days x pairs": 6e-5}, {"fixed": 1, "as_of_days x pairs": 1e-6}, 1),
        "train": Cost({"users": 6e-3}, {"fixed": 1, "ranked_users": 4e-4}, 0.5),
        "precompute": Cost({"users": 3e-3, "items": 6e-3}, {"users": 5e-6}, 0.5),
    },
)
SHOP = ["--users", "100000", "--items", "50000", "--events-per-day", "100000"]
PAGE = """\
100,000 users, 50,000 items, 100,000 events a day, 60 days of history, 4,200,000 pairs; 4 cores, 24 GiB
┏━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┓
┃            ┃ first night: ┃ first night: ┃ first night: ┃ later night: ┃ later night: ┃ later night: ┃
┃ stage      ┃      minutes ┃  CPU-minutes ┃     peak GiB ┃      minutes ┃  CPU-minutes ┃     peak GiB ┃
┡━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━┩
│ bootstrap  │          4.4 │          7.0 │          2.0 │              │              │              │
│ ingest     │          1.0 │          1.0 │          1.1 │          1.0 │          1.0 │          1.1 │
│ features   │          6.3 │         25.2 │          9.0 │          1.1 │          4.2 │          5.2 │
│ train      │          6.2 │         10.0 │         11.0 │          6.2 │         10.0 │         11.0 │
│ precompute │          6.2 │         10.0 │          0.5 │          6.2 │         10.0 │          0.5 │
├────────────┼──────────────┼──────────────┼──────────────┼──────────────┼──────────────┼──────────────┤
│ together   │         24.2 │         53.2 │         11.0 │         14.6 │         25.2 │         11.0 │
└────────────┴──────────────┴──────────────┴──────────────┴──────────────┴──────────────┴──────────────┘

how to run them
  this machine: later nights have no stage for a cluster that takes more than 2 h
  its memory suffices: 11.0 GiB at most of 24 GiB, of which Airflow takes 1.5
    export NIGHTJAR_SPARK_MASTER=local[4]
    export NIGHTJAR_THREADS=4
    export NIGHTJAR_SPARK_MEMORY=8192m
    export NIGHTJAR_BLOCK_MIB=512

how this is known
  Each of the six nights after the first makes its snapshots, too: 19.8 min.
  Airflow adds some seconds to each task.
  Fitted to measurements of one machine (Abacus with avx2, 2 cores, 24 GiB) at 0123456789ab:
    M: 200,000 users, 50,000 items, 9,000,000 rows, 60 days
  What is said here of a command measured there is off by at most: seconds 21%, CPU-seconds 10%, memory 30%.
  Beyond what was measured, so less sure: 4 cores (measured: 2).
"""


@pytest.fixture(autouse=True)
def _heap(monkeypatch):
    monkeypatch.setattr("lake.memory.MOST_MIB", 8192)


@pytest.fixture
def said(monkeypatch):
    """Run `nightjar plan`; gives its exit code and what it prints."""
    monkeypatch.setattr(costs, "shipped", lambda: MADE_UP)
    monkeypatch.setattr("nightjar.console.console._width", 120)

    def run(*options):
        done = CliRunner().invoke(app, ["plan", *options], env={"COLUMNS": "300", "NO_COLOR": "1"})
        return done.exit_code, done.output

    return run


def test_the_page(said):
    assert said(*SHOP, "--cores", "4", "--memory", "24") == (0, PAGE)


def test_without_cores_and_memory_it_is_about_this_machine(said, monkeypatch):
    monkeypatch.setattr("lake.cores.count", lambda: 3)
    monkeypatch.setattr("lake.memory.limit", lambda: 5 * 2**30 // 2)
    code, page = said(*SHOP, "--pairs", "200000")
    assert (code, page.splitlines()[0][-31:]) == (0, "200,000 pairs; 3 cores, 2.5 GiB")
    assert "NIGHTJAR_SPARK_MEMORY=1024m" in page


def test_what_lies_beyond_what_was_measured_is_named(said):
    assert "less sure" not in said(*SHOP, "--cores", "2")[1]
    assert "less sure" not in said(*SHOP, "--cores", "2", "--users", "210000")[1]
    assert "less sure: 1,799 users (measured" in said(*SHOP, "--cores", "2", "--users", "1799")[1]
    page = said("--users", "300000", *SHOP[2:], "--cores", "8")[1]
    assert "less sure: 300,000 users (measured: 2,000 to 200,000); 8 cores (measured: 2)." in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--users", "0"], "--users: expected 1 to 6,000,000 (each has an event in the history), found 0"),
        (["--items", "6000001"], "--items: expected 1 to 6,000,000 (each"),
        (["--events-per-day", "0"], "--events-per-day: expected 1 to 1,000,000,000,000, found 0"),
        (["--history-days", "-1"], "--history-days: expected 1 to 36,600, found -1"),
        (["--cores", "0"], "--cores: expected 1 to 1,024, found 0"),
        (["--memory", "0.5"], "--memory: expected 1 to 1,048,576 (in GiB), found 0.5"),
        (["--memory", "nan"], "--memory: expected 1 to 1,048,576 (in GiB), found nan"),
        (["--pairs", "99999"], "--pairs: expected 100,000 to 6,000,000 (each user"),
        (["--users", "99", "--pairs", "4950001"], "--pairs: expected 50,000 to 4,950,000 (each user"),
    ],
)
def test_numbers_of_no_shop_are_refused(said, options, words):
    code, text = said(*SHOP, *options)
    assert (code, words in text) == (1, True), text


def test_pairs_that_nobody_counted_are_at_most_all_there_are(said):
    assert "60 pairs" in said("--users", "20", "--items", "3", "--events-per-day", "1000")[1]


def forecast(users=100_000, pairs=4_200_000, cores=4, memory=24.0, **stages):
    made_up = replace(MADE_UP, stages=MADE_UP.stages | stages)
    return Forecast(made_up, Shop(users, 50_000, 100_000, 60, pairs), Machine(cores, memory))


def settings(**numbers):
    return dict(profile(forecast(**numbers)).settings)


def test_the_ranker_goes_to_the_disk_where_memory_is_short():
    """Its rows take 10 of the 11 GiB of training."""
    assert "RANKER_ON_DISK" not in settings(memory=12.5)
    chosen = profile(forecast(memory=12.4))
    assert chosen.settings["RANKER_ON_DISK"] == "true"
    assert "11.0 GiB of 12.4 GiB, of which Airflow takes 1.5, without 5.1" in chosen.reasons[1]


def test_more_memory_is_asked_for_where_the_disk_does_not_help():
    """A million users take 5 GiB while lists are made."""
    chosen = profile(forecast(users=1_000_000, memory=6))
    assert "more memory, 7 GiB or more: 5.0 GiB of 6 GiB" in chosen.reasons[1]
    assert chosen.settings["RANKER_ON_DISK"] == "true"


def test_a_cluster_is_for_later_nights_that_take_too_long():
    """Features of a later night take 2.6 hours on one core."""
    slow = Cost({"as_of_days x pairs": 2.2e-3}, {"fixed": 1}, 1)
    chosen = profile(forecast(cores=1, features=slow))
    assert chosen.settings["SPARK_MASTER"] == "spark://HOST:7077"
    assert "with 1 core, 24 GiB later nights take features 2.6 h" in chosen.reasons[0]
    assert settings(cores=2, features=slow)["SPARK_MASTER"] == "local[2]"


def test_training_alone_needs_no_cluster_but_time():
    slow = Cost({"fixed": 10_000}, {"fixed": 1}, 0)
    chosen = settings(train=slow)
    assert chosen["SPARK_MASTER"] == "local[4]"
    assert chosen["HEAVY_TIMEOUT"] == str(4 * 3600)


def test_tasks_of_the_first_night_get_a_third_more_than_they_take():
    def heavy(seconds):
        return settings(bootstrap=Cost({"fixed": seconds}, {"fixed": 1}, 0)).get("HEAVY_TIMEOUT")

    assert [heavy(5_400), heavy(5_401), heavy(10_000)] == [None, "10800", "14400"]


def test_memory_of_spark_is_bounded_by_its_heap():
    """With 6 GiB its heap has 2, whatever the pairs; training is not Spark's."""
    few, many = (forecast(pairs=pairs, memory=6).needs(FIRST) for pairs in (10, 9_000_000))
    assert [need["features"].peak_gib for need in (few, many)] == pytest.approx([1.00006, 3])
    assert many["train"].peak_gib == pytest.approx(11)


def test_a_later_night_makes_no_snapshots_and_has_its_history():
    first, later = (forecast().needs(night) for night in (FIRST, LATER))
    assert first.keys() - later.keys() == {"bootstrap"}
    assert first["features"].cpu_seconds == pytest.approx(6 * later["features"].cpu_seconds)


def test_it_starts_without_what_nights_need():
    """Imports of these take longer than all the rest."""
    code = (
        "import sys; from nightjar.command.cli import app; "
        f"app({['plan', *SHOP]!r}, standalone_mode=False); "
        "print(sorted({'pyspark', 'xgboost', 'numpy', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "precompute" in done.stdout


def test_the_coefficients_come_with_the_package():
    """Packages are listed one by one, and a wheel holds no other file but what is named."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    folder = Path(costs.__file__).parent
    assert project["tool"]["setuptools"]["package-data"]["nightjar.command"] == [costs.FILE]
    assert [path.name for path in folder.iterdir() if path.suffix not in (".py", "")] == [costs.FILE]
