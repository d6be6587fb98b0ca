"""Numba's decorator as we use it: without the GIL, kept on disk, no liberties with floats."""

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
    others = (os.environ.get("NIGHTJAR_HOME"), sys.prefix, os.environ.get("HOME"))
    config: Any = numba.config
    if config.CACHE_DIR or os.access(source, os.W_OK):
        return True
    folder = next((Path(place) for place in others if place and os.access(place, os.W_OK)), None)
    if folder is None:
        log.warning("no folder to keep compiled code in, so each start compiles again: set NUMBA_CACHE_DIR")
        return False
    config.CACHE_DIR = str(folder / ".numba")
    return True


_KEEP = _can_keep()


def jit(function: F) -> F:
    """Compile a function of arrays and numbers at its first call; later processes load it."""
    return cast(F, numba.njit(nogil=True, cache=_KEEP, error_model="numpy")(function))
