"""Rules of the code base that no linter knows."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from lake.decisions import Outcome
from lake.names import TableName
from lake.plan import Ending

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "lake",
    "nightjar",
    "nightjar_reader",
    "precompute",
    "recommender",
    "spark_jobs",
    "topn",
    "training",
    "validation",
)
SOURCES = sorted(path for name in (*PACKAGES, "dags", "plugins") for path in (CHECKOUT / name).rglob("*.py"))
CLOCK = re.compile(r"datetime\.(now|utcnow|today)\(|date\.today\(|\btime\.time\(")
RUN_DATE = re.compile(r"logical_date|execution_date|run_after\b|\bds\b")
DATES_ALLOWED = {
    "plugins/timetables.py",  # makes the runs
    "nightjar/servers/rest.py",  # the API wants the field, empty
}


def test_the_sources_are_found():
    assert len(SOURCES) > 40
    assert {path.relative_to(CHECKOUT).parts[0] for path in SOURCES} == {*PACKAGES, "dags", "plugins"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_nothing_reads_a_run_s_date_but_its_partition(path):
    name = str(path.relative_to(CHECKOUT))
    assert bool(RUN_DATE.search(path.read_text())) == (name in DATES_ALLOWED)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_only_partitions_asks_for_the_time(path):
    if path.name == "partitions.py":
        assert CLOCK.search(path.read_text())
    else:
        assert not CLOCK.search(path.read_text())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_functions_and_files_are_short(path):
    tree = ast.parse(path.read_text())
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert long == []
    assert len(path.read_text().splitlines()) - _docstring_lines(tree) <= 500


def _docstring_lines(tree):
    """A file may say what it does at any length."""
    named = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [node.body[0] for node in ast.walk(tree) if isinstance(node, named) and ast.get_docstring(node)]
    return sum(text.end_lineno - text.lineno + 1 for text in texts)


def test_pyproject_names_the_packages_and_nothing_that_is_not_one():
    text = (CHECKOUT / "pyproject.toml").read_text()
    listed = re.search(r"\[tool\.setuptools\]\npackages = \[([^]]*)\]", text)
    assert listed
    folders = (path.parent for name in PACKAGES for path in (CHECKOUT / name).rglob("__init__.py"))
    packages = sorted(".".join(folder.relative_to(CHECKOUT).parts) for folder in folders)
    assert sorted(re.findall(r'"([\w.]+)"', listed[1])) == packages


def test_no_module_of_a_folder_on_the_path_hides_one_of_python_or_of_a_library():
    """spark-submit puts the job's own folder first on the path, Airflow the folder of plugins.

    A `profile.py` there ended every job, and a `requests.py` hid that library from MLflow.
    """
    taken = sys.stdlib_module_names | packages_distributions().keys()
    names = {
        path.stem for folder in ("spark_jobs", "plugins", "dags") for path in (CHECKOUT / folder).glob("*.py")
    }
    assert {"extract", "sensors", "nightly", "requests"} - names == {"requests"}
    assert "requests" in taken
    assert names & taken == set()


def test_outcomes_and_tables_are_spelled_where_they_are_declared():
    """A misspelled one was found by a night, if at all."""
    declared = {CHECKOUT / "lake" / f"{name}.py" for name in ("names", "decisions", "plan")}
    ambiguous = {"quarantine", "catalogue", "baseline", "failed", "closed", "kept"}  # others say these too
    names = {name.value for kind in (TableName, Outcome, Ending) for name in kind} - ambiguous
    literals = {
        f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.value}"
        for path in SOURCES
        if path not in declared and path.parts[-2] not in ("topn", "nightjar_reader")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert len(names) >= 10
    assert literals == set()


def test_every_path_that_the_docs_name_is_there():
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")]
    }
    named = {
        (path.name, name)
        for path, text in texts.items()
        for name in re.findall(r"`([\w./]+/[\w.]+\.py)`", text)
    }
    lost = sorted(
        (page, name) for page, name in named if "NAME" not in name and not (CHECKOUT / name).exists()
    )
    assert len(named) > 40
    assert lost == []
