"""Compiled code that is kept, in packages of their own that stand for ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from topn import jit

INNER = "from topn.jit import jit\n\n@jit\ndef inner(x):\n    return x + {}\n"
OUTER = (
    "from topn.inner import inner\nfrom topn.jit import jit\n\n"
    "@jit\ndef outer(x):\n    return 10 * inner(x)\n"
)
KERNELS = (
    "from pathlib import Path\n\nfrom topn.jit import Compiler\n\n"
    "@Compiler(Path(__file__)).jit\ndef double(x):\n    return 2 * x\n"
)
SHOW = """
import os
import numba
from topn.outer import outer
from above.kernels import double
assert numba.config.CACHE_DIR == os.environ.get("NUMBA_CACHE_DIR", "")  # is left as it was
print(outer(1.0), *(sum(function.stats.cache_hits.values()) for function in (outer, double) if function(1.0)))
"""


@pytest.fixture
def packages(tmp_path):
    """`topn`, of two files whose functions are compiled into one another, and `above`, which stands on it."""
    for name in ("topn", "above"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    shutil.copy(Path(jit.__file__), tmp_path / "topn")
    (tmp_path / "topn" / "inner.py").write_text(INNER.format(1))
    (tmp_path / "topn" / "outer.py").write_text(OUTER)
    (tmp_path / "above" / "kernels.py").write_text(KERNELS)
    (tmp_path / "above" / "other.py").touch()
    return tmp_path


def _show(place):
    """What `SHOW` prints with the packages of a folder or a zip."""
    line, path = [sys.executable, "-c", SHOW], {"PYTHONPATH": str(place)}
    return subprocess.run(
        line, cwd=place.parent, env=os.environ | path, capture_output=True, text=True, check=True
    )


def _shown(place):
    """A result of `topn`, and whether its code and that of `above` had been kept."""
    return _show(place).stdout.split()


def _comment(file):
    with file.open("a") as text:
        text.write("# a comment\n")


def test_compiled_code_is_kept_until_any_file_of_the_package_changes(packages):
    assert _shown(packages) == ["20.0", "0", "0"]
    assert _shown(packages) == ["20.0", "1", "1"]
    (packages / "topn" / "inner.py").write_text(INNER.format(2))
    assert _shown(packages) == ["30.0", "0", "1"]


def test_compiled_code_is_kept_when_a_file_changes_that_it_is_not_made_of(packages):
    _shown(packages)
    _comment(packages / "above" / "other.py")
    assert _shown(packages) == ["20.0", "1", "1"]
    _comment(packages / "above" / "kernels.py")
    assert _shown(packages) == ["20.0", "1", "0"]
    _comment(packages / "topn" / "jit.py")
    assert _shown(packages) == ["20.0", "0", "0"]


def test_where_nothing_can_be_kept_code_is_compiled_all_the_same(packages, monkeypatch):
    """Numba kept it beside the sources, named by one file alone, or stopped the import."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(packages / "above" / "kernels.py" / "cache"))
    done = _show(packages)
    assert done.stdout.split() == ["20.0", "0", "0"]
    assert "no folder to keep compiled code in" in done.stderr
    assert _shown(packages) == ["20.0", "0", "0"]


def test_a_zip_finds_what_another_one_of_the_same_files_kept_elsewhere(
    packages, tmp_path_factory, monkeypatch
):
    """As on a cluster, whose workers get the files in a zip, at a path of its own for each job."""
    folder = tmp_path_factory.mktemp("jobs")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder / "kept"))
    for job, kept in (("a", "0"), ("b", "1")):
        archive = shutil.make_archive(str(folder / job / "code"), "zip", packages)
        assert _shown(Path(archive)) == ["20.0", kept, kept]


def test_refuses_a_function_of_a_file_that_the_key_does_not_know():
    with pytest.raises(ValueError, match="_shown: .*test_jit.py is not among the sources"):
        jit.jit(_shown)
