"""Every DAG as Airflow reads it: its graph, its time, and what it loads."""

import ast
import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import TriggerRule

from lake.dataset import read_dataset
from lake.settings import load

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(CHECKOUT / "dags").glob("*.py"), *(CHECKOUT / "plugins").glob("*.py")])
HEAVY = (
    *("pandas", "pyarrow", "deltalake", "pyspark", "xgboost", "implicit", "mlflow", "great_expectations"),
    "sqlglot",
)
PLUGINS = {path.stem for path in (CHECKOUT / "plugins").glob("*.py")}
PACKAGES = {
    "lake",
    "nightjar",
    "nightjar_reader",
    "precompute",
    "recommender",
    "spark_jobs",
    "topn",
    "training",
    "validation",
}


@pytest.fixture(scope="module")
def bag():
    return DagBag(str(CHECKOUT / "dags"))


@pytest.fixture
def nightly(bag):
    return bag.dags["nightly"]


def test_every_dag_is_read_without_an_error(bag):
    assert len(bag.dags) == len(list((CHECKOUT / "dags").glob("*.py"))) == 3
    assert bag.import_errors == {}


def _seconds(duration):
    return duration.total_seconds() if duration else None


def _task(task):
    return {
        "after": sorted(task.upstream_task_ids),
        "kind": task.task_type,
        "trigger_rule": TriggerRule(task.trigger_rule).value,
        "pool": task.pool,
        "retries": task.retries,
        "timeout": _seconds(task.execution_timeout),
        "outlets": sorted(asset.name for asset in task.outlets),
    }


@pytest.mark.parametrize("name", ["nightly", "bootstrap_history", "weekly_maintain"])
def test_graph(bag, snapshot, name):
    dag = bag.dags[name]
    assert snapshot == {
        "schedule": dag.schedule.serialize() if hasattr(dag.schedule, "serialize") else repr(dag.schedule),
        "start": str(dag.start_date),
        "end": str(dag.end_date),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "params": {key: dag.params.get_param(key).schema for key in sorted(dag.params)},
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
    }


def test_train_and_precompute_both_start_when_features_are_there(nightly):
    for first in ("train.wait_for_decision", "precompute.wait_for_decide"):
        assert nightly.get_task(first).upstream_task_ids == {"features.commit"}


def test_a_night_is_red_when_its_decision_or_its_publishing_is_and_whatever_the_mirror_does(nightly):
    leaves = {task.task_id for task in nightly.tasks if not task.downstream_task_ids - {"mirror"}}
    assert leaves == {"train.decide", "precompute.publish", "mirror"}
    mirror = nightly.get_task("mirror")
    assert (mirror.is_teardown, mirror.on_failure_fail_dagrun) == (True, False)
    assert mirror.upstream_task_ids == {"train.decide", "precompute.publish"}


def test_only_heavy_tasks_hold_a_pool(nightly):
    held = {task.task_id: task.pool for task in nightly.tasks if task.pool != "default_pool"}
    assert held == {
        "ingest.extract": "spark",
        "features.build": "spark",
        "train.train": "train",
        "precompute.build": "precompute",
        "mirror": "mirror",
    }


def test_every_task_has_a_timeout_and_sensors_hold_no_slot(bag):
    tasks = [task for dag in bag.dags.values() for task in dag.tasks]
    assert [task.task_id for task in tasks if task.execution_timeout is None] == []
    sensors = [task for task in tasks if task.task_type.endswith("Sensor")]
    assert len(sensors) == 4
    assert all(task.reschedule for task in sensors)


def test_the_calendar_ends_with_the_data(nightly):
    data = read_dataset(load().dataset)
    end = dt.datetime(2018, 1, 2, 3, tzinfo=dt.UTC)  # behind the tick of 02:00, whatever clocks do
    assert (data.last_day, nightly.end_date) == (dt.date(2018, 1, 1), end)
    assert nightly.start_date == dt.datetime(2017, 1, 1, tzinfo=dt.UTC)


def test_dags_say_what_they_do_and_their_params_have_titles(bag):
    for dag in bag.dags.values():
        assert len(dag.doc_md) > 100
    params = bag.dags["bootstrap_history"].params
    schemas = {key: params.get_param(key).schema for key in params}
    assert {key: (schema["format"], bool(schema["title"])) for key, schema in schemas.items()} == {
        "from": ("date", True),
        "to": ("date", True),
    }


@pytest.mark.parametrize("path", sorted((CHECKOUT / "dags").glob("*.py")), ids=lambda path: path.name)
def test_a_dag_is_short_and_without_logic(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 80
    logic = (ast.If, ast.For, ast.While, ast.Try, ast.Lambda)
    assert [node for node in ast.walk(ast.parse(source)) if isinstance(node, logic)] == []


def _imports(tree, top):
    """The modules that a file imports, at its top level or inside functions."""
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if (node not in inside) != top:
            continue
        if isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_dags_and_plugins_import_what_they_may(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_top = [name for name in _imports(tree, top=True) if name.split(".")[0] in PACKAGES]
    assert [name for name in at_top if not name.startswith("lake")] == []
    assert [name for name in at_top if name.startswith("lake.tables")] == []
    inside = {name.split(".")[0] for name in _imports(tree, top=False)} & PACKAGES
    assert inside <= {"nightjar", "spark_jobs", "lake"}
    wrong = [name for name in _imports(tree, top=True) if name.split(".")[0] in ("plugins", "dags")]
    assert wrong == []


def test_waits_and_sensors_stand_on_the_light_part_of_the_lake():
    allowed = {
        f"lake.{name}"
        for name in [
            *("lake", "settings", "layout", "partitions", "storage", "records", "names", "errors"),
            "delivery",
        ]
    }
    for name in ("waits", "sensors"):
        tree = ast.parse((CHECKOUT / "plugins" / f"{name}.py").read_text(encoding="utf-8"))
        ours = {found for top in (True, False) for found in _imports(tree, top) if found.startswith("lake")}
        assert ours
        assert ours <= allowed


def test_no_plugin_has_the_name_of_a_package():
    assert len(PLUGINS) >= 5
    assert PLUGINS & (PACKAGES | sys.stdlib_module_names) == set()


def _loaded(lines):
    """Which of the heavy packages a fresh process has loaded after some lines."""
    script = "\n".join([*lines, "import sys", f"print([n for n in {HEAVY!r} if n in sys.modules])"])
    paths = os.pathsep.join(str(CHECKOUT / name) for name in ("plugins", "dags", ""))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))


def test_reading_a_dag_or_a_plugin_loads_nothing_heavy():
    ours = [f"import {path.stem}" for path in SOURCES]
    assert len(ours) == len(PLUGINS) + 3
    airflow = [
        "import airflow.sdk, airflow.timetables.trigger, airflow.plugins_manager",
        "import airflow.providers.apache.spark.operators.spark_submit",
    ]
    assert _loaded([*airflow, *ours]) - _loaded(airflow) == set()
