"""Files of this machine: their digest, and what to say where there is no room for one."""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.errors import DiskFull

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def sha256_of(path: Path) -> str:
    """The digest of a local file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Raise `DiskFull`, which says what to do, where there is no room for a file."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DiskFull(f"{path}: {error.strerror}; free some space, then run again") from error
