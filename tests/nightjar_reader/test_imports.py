"""A service installs `nightjar_reader` alone: it needs nothing else of ours and no big library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nightjar_reader

FOLDER = Path(nightjar_reader.__file__).parent
ALLOWED = {"nightjar_reader", "numpy", "pyarrow", "annoy"}
OURS = {
    "lake",
    "nightjar",
    "precompute",
    "recommender",
    "spark_jobs",
    "topn",
    "training",
    "validation",
    "plugins",
    "dags",
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_imports_only_these(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    assert roots <= ALLOWED | sys.stdlib_module_names


def loaded(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    root = str(FOLDER.parent)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_format_loads_only_the_standard_library() -> None:
    found = loaded("import nightjar_reader.format")
    assert "nightjar_reader" in found
    assert not found & (OURS | {"numpy", "pyarrow", "pandas", "annoy"})


def test_reader_loads_neither_ours_nor_airflow_nor_spark() -> None:
    found = loaded("from nightjar_reader import Reader")
    assert {"numpy", "pyarrow"} <= found
    assert not found & (OURS | {"airflow", "pyspark", "pandas", "mlflow", "xgboost", "annoy"})
