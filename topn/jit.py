"""Numba's decorators as top-N uses them, and where compiled code is kept.

Numba keeps compiled code on disk, and compiles a function anew when the function's own file changes. That
does not suffice here: functions of several files are compiled into one another. So their code is kept in a
folder that is named by the content of all these files, and of no others.
"""

import hashlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

# A function with these may sum in any order, so its result must not depend on the sum's last bits.
ANY_ORDER = frozenset({"reassoc", "contract", "nsz"})

_config: Any = numba.config
_lock = threading.Lock()  # around numba's setting, for two threads that import


class Compiler:
    """Numba's decorators for functions of arrays and numbers that are compiled into one another.

    A function is compiled at its first call, and runs without the GIL; later processes load what was
    compiled. It is kept in ``NUMBA_CACHE_DIR`` if that is set, else beside the sources, else in the
    environment or the user's home.

    Parameters
    ----------
    sources
        The files that hold all these functions. A change in one of them compiles all functions anew.
    """

    def __init__(self, *sources: Path) -> None:
        self._sources = frozenset(path.resolve() for path in sources)
        self._folder = _folder_for(sources[0].parent, self._sources)

    def jit(self, function: F) -> F:
        """Compile with floats as Python has them: each operation is rounded, in the order written."""
        return self._compiled(function, frozenset())

    def jit_in_any_order(self, function: F) -> F:
        """Compile with sums in the order that is fastest on this processor."""
        return self._compiled(function, ANY_ORDER)

    def _compiled(self, function: F, liberties: frozenset[str]) -> F:
        file = Path(function.__code__.co_filename).resolve()
        if file not in self._sources:
            raise ValueError(f"{function.__name__}: {file} is not among the sources of this compiler")
        keep = self._folder is not None
        decorate = numba.njit(nogil=True, cache=keep, error_model="numpy", fastmath=set(liberties))
        with _lock:
            users_folder = _config.CACHE_DIR
            try:  # numba reads the folder when it decorates, and only then
                _config.CACHE_DIR = self._folder or users_folder
                return cast(F, decorate(function))
            finally:
                _config.CACHE_DIR = users_folder


def _folder_for(home: Path, sources: Iterable[Path]) -> str | None:
    """A folder for code compiled from these files; None, with a warning, if none can be written."""
    places: tuple[str | Path | None, ...] = (home, sys.prefix, os.environ.get("HOME"))
    if _config.CACHE_DIR:
        places = (_config.CACHE_DIR,)
        with suppress(OSError):  # one that cannot be made cannot be written either
            os.makedirs(_config.CACHE_DIR, exist_ok=True)
    folder = next((place for place in places if place and os.access(place, os.W_OK)), None)
    if folder is None:
        log.warning("no folder to keep compiled code in, so each start compiles again: set NUMBA_CACHE_DIR")
        return None
    return str(Path(folder) / ".numba" / _content({*sources, Path(__file__).resolve()}))


def _content(files: Iterable[Path]) -> str:
    """A name made of the content of these files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()[:12]


_own = Compiler(*Path(__file__).parent.glob("*.py"))
jit, jit_in_any_order = _own.jit, _own.jit_in_any_order
