"""`topn` could be published alone: it needs nothing of ours, and says what is public."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import topn

FOLDER = Path(topn.__file__).parent
ALLOWED = {"topn", "numpy", "scipy", "numba", "llvmlite", "joblib"}
OURS = {path.parent.name for path in FOLDER.parent.glob("*/__init__.py")} - {"topn"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_imports_only_these(path):
    assert {name.split(".")[0] for name in imported(path)} <= ALLOWED | sys.stdlib_module_names


def test_loads_nothing_of_ours():
    code = "import sys, topn; print(*{name.split('.')[0] for name in sys.modules})"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"lake", "nightjar", "recommender"} <= OURS
    assert "topn" in loaded
    assert not loaded & (OURS | {"pyarrow", "pandas", "sklearn"})


def test_names_all_that_is_public_in_order():
    public = [name for name, value in vars(topn).items() if name[0] != "_" and not inspect.ismodule(value)]
    assert topn.__all__ == sorted(public)
