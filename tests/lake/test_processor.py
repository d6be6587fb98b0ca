"""The kernel that every process asks for, whatever was asked for from outside."""

import os
import subprocess
import sys

import pytest

from lake import processor


def run(code, **environment):
    """What a fresh process prints."""
    told = os.environ | environment
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("asked", ["", "Nehalem", "Zen"])
def test_every_process_runs_the_one_kernel(asked):
    code = "from recommender import retrieval; from lake import processor; print(*processor.blas_kernels())"
    assert run(code, OPENBLAS_CORETYPE=asked) == "Haswell"


def test_what_a_process_starts_gets_the_kernel_too():
    code = "import lake, os; print(os.environ['OPENBLAS_CORETYPE'])"
    assert run(code, OPENBLAS_CORETYPE="Nehalem") == "Haswell"


def test_a_machine_has_a_processor_a_kernel_and_a_build():
    from recommender import retrieval  # noqa: F401  (loads BLAS)

    machine = processor.Machine.here()
    assert machine.blas == ("Haswell",)
    assert len(machine.annoy) == 64


def code_of_annoy() -> str:
    command = ["objdump", "-d", processor.annoy_library()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_annoys_code_is_the_same_on_every_processor():
    """Compiled for the processor that built it, it took `rsqrt`, whose bits differ between makers."""
    code = code_of_annoy()
    assert "sqrtss" in code  # it is disassembled, and takes exact roots
    assert "rsqrt" not in code
    assert "vfmadd" not in code
    assert "%zmm" not in code


def test_annoy_sums_eight_at_a_time():
    """Without AVX2 an index of 59,000 items takes three times as long to build."""
    assert "%ymm" in code_of_annoy()
