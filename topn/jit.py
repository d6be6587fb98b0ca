"""Numba's decorators as top-N uses them, and where compiled code is kept.

Numba keeps compiled code by the path of a function's file, and compiles it anew when that file changes. That
does not suffice here: functions of several files are compiled into one another, and on a cluster the same
files come to another path with each job, in a zip. So their code is kept in a folder that is named by the
content of all these files, and of no others, wherever they lie.
"""

import hashlib
import logging
import os
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import _CacheLocator

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
            users = _config.CACHE_DIR, _config.CACHE_LOCATOR_CLASSES
            try:  # numba reads both when it decorates, and only then
                _config.CACHE_DIR = self._folder or users[0]
                _config.CACHE_LOCATOR_CLASSES = f"{__name__}.{_InFolder.__name__}"
                return cast(F, decorate(function))
            finally:
                _config.CACHE_DIR, _config.CACHE_LOCATOR_CLASSES = users


class _InFolder(_CacheLocator):
    """Tells numba to keep a function in the folder that is set while it decorates."""

    def __init__(self, line: int) -> None:
        self._folder, self._line = _config.CACHE_DIR, line

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_InFolder":
        """The locator of a function."""
        return cls(py_func.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """What has to be equal: nothing, as the folder's name says which code it is of."""
        return ""

    def get_disambiguator(self) -> str:
        """What tells functions of one name apart."""
        return str(self._line)


def _folder_for(home: Path, sources: Iterable[Path]) -> str | None:
    """A folder for code compiled from these files; None, with a warning, if none can be written."""
    name = Path(".numba") / _content({*sources, Path(__file__).resolve()})
    users = _config.CACHE_DIR
    places = (users,) if users else (home, sys.prefix, os.environ.get("HOME"))
    folder = next((folder for place in places if place and _can_hold(folder := Path(place) / name)), None)
    if folder is None:
        log.warning("no folder to keep compiled code in, so each start compiles again: set NUMBA_CACHE_DIR")
        return None
    return str(folder)


def _can_hold(folder: Path) -> bool:
    """Whether files can be put into a folder, which is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _content(files: Iterable[Path]) -> str:
    """A name made of the content of these files."""
    return hashlib.sha256(b"".join(_read(path) for path in sorted(files))).hexdigest()[:12]


def _read(file: Path) -> bytes:
    """The content of a file, which may lie in a zip."""
    if file.is_file():
        return file.read_bytes()
    archive = next(path for path in file.parents if path.is_file())
    with zipfile.ZipFile(archive) as packed:
        return packed.read(file.relative_to(archive).as_posix())


def _beside() -> Iterable[Path]:
    """The Python files of this package."""
    files = (Path(str(file)) for file in resources.files(__package__).iterdir())
    return (file for file in files if file.suffix == ".py")


_own = Compiler(*_beside())
jit, jit_in_any_order = _own.jit, _own.jit_in_any_order
