"""Numba's decorator as we use it: without the GIL, kept on disk, no liberties with floats unasked."""

import hashlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


def _can_keep() -> bool:
    """Find a folder for compiled code: beside the source, else in our home, the environment or the user's."""
    source = Path(__file__).parent
    others = (source, os.environ.get("NIGHTJAR_HOME"), sys.prefix, os.environ.get("HOME"))
    config: Any = numba.config
    folder = config.CACHE_DIR or next(
        (place for place in others if place and os.access(place, os.W_OK)), None
    )
    if folder is None:
        log.warning("no folder to keep compiled code in, so each start compiles again: set NUMBA_CACHE_DIR")
        return False
    config.CACHE_DIR = str(Path(folder) / ".numba" / _content(source))
    return True


def _content(source: Path) -> str:
    """What all source files say, as a name: numba itself looks only at the file of the function at hand."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.glob("*.py")))).hexdigest()[
        :12
    ]


_KEEP = _can_keep()


def jit(function: F) -> F:
    """Compile a function of arrays and numbers at its first call; later processes load it."""
    return cast(F, numba.njit(nogil=True, cache=_KEEP, error_model="numpy")(function))


def jit_in_any_order(function: F) -> F:
    """The same, with sums in the order that is fastest here: results may not depend on their last bits."""
    liberties = {"reassoc", "contract", "nsz"}
    compiled = numba.njit(nogil=True, cache=_KEEP, error_model="numpy", fastmath=liberties)
    return cast(F, compiled(function))
