"""The machine code that decides bytes: it is fixed where that is possible, and recorded where it is not.

OpenBLAS chooses its kernel by the processor, and each kernel sums in its own order. With another kernel
ALS ends in other factors, and no user gets the same list. So every process of ours asks for the one
kernel that all x86-64 machines with AVX2 have.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from importlib import util
from pathlib import Path
from typing import Final

BLAS_KERNEL: Final = "Haswell"
VARIABLES: Final = {"OPENBLAS_CORETYPE": BLAS_KERNEL}
"""What the environment needs before numpy is loaded, since its OpenBLAS reads it only then."""


@dataclass(frozen=True)
class Machine:
    """What a process ran on, for provenance.

    Attributes
    ----------
    processor
        As the operating system names it; empty where it names none.
    blas
        The kernels of the BLAS libraries that were loaded.
    annoy
        SHA-256 of Annoy's object code, which is compiled where it is installed.
    """

    processor: str = ""
    blas: tuple[str, ...] = ()
    annoy: str = ""

    @classmethod
    def here(cls) -> "Machine":
        """The machine of this process, with what it has loaded by now."""
        return cls(_model(), blas_kernels(), sha256(annoy_library().read_bytes()).hexdigest())


def fix() -> None:
    """Ask for `BLAS_KERNEL`, whatever the environment said, in this process and in those it starts."""
    os.environ.update(VARIABLES)


def blas_kernels() -> tuple[str, ...]:
    """The kernels of the BLAS libraries that this process has loaded, sorted."""
    from threadpoolctl import threadpool_info

    pools = (pool for pool in threadpool_info() if pool["user_api"] == "blas")
    return tuple(sorted({str(pool.get("architecture") or pool["internal_api"]) for pool in pools}))


def annoy_library() -> Path:
    """Annoy's object code."""
    spec = util.find_spec("annoy.annoylib")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")
