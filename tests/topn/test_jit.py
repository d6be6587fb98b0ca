"""Compiled code that is kept, in a package of its own."""

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
SHOW = "from topn.outer import outer\nprint(outer(1.0), sum(outer.stats.cache_hits.values()), flush=True)"


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "topn"
    folder.mkdir()
    (folder / "__init__.py").touch()
    shutil.copy(Path(jit.__file__), folder)
    (folder / "inner.py").write_text(INNER.format(1))
    (folder / "outer.py").write_text(OUTER)
    return folder


def _shown(package):
    line = [sys.executable, "-c", SHOW]
    done = subprocess.run(line, cwd=package.parent, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_compiled_code_is_kept_until_any_file_of_the_package_changes(package):
    assert _shown(package) == ["20.0", "0"]
    assert _shown(package) == ["20.0", "1"]
    (package / "inner.py").write_text(INNER.format(2))
    assert _shown(package) == ["30.0", "0"]
