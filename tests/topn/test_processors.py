"""The tests of `topn` once more in a process of its own, compiled as for processors with fewer features."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

HERE = Path(__file__).parent
TESTS = [str(HERE / f"test_{name}.py") for name in ("simd", "selection", "exact")]
SHOW = "from topn import simd, exact; print(*simd.TILE); exact.solver.solve_block"
NEEDS = {"nehalem": "sse4.2", "haswell": "avx2"}


@pytest.mark.parametrize(("processor", "tile"), [("nehalem", "4 3 3"), ("haswell", "8 3 4")])
def test_lists_are_exact_as_compiled_for(processor, tile):
    if platform.machine() != "x86_64" or not llvm.get_host_cpu_features().get(NEEDS[processor]):
        pytest.skip(f"this processor does not run code for {processor}")
    # The features of this processor would be added to those of the one that is named.
    told = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    assert _output(told, "-c", SHOW).split("\n")[0] == tile
    _output(told, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *TESTS)


def _output(environment, *arguments):
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
