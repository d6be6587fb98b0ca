"""What a reader raises on purpose; each message says what to do next."""

import errno
from collections.abc import Mapping

_OF_THIS_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_of_this_process(error: OSError) -> bool:
    """Whether a disk error is no fault of the file: this process has no handles or memory left."""
    return error.errno in _OF_THIS_PROCESS


class ReaderError(Exception):
    """Base of what a reader raises on purpose."""


class FormatError(ReaderError, ValueError):
    """A manifest or a ledger entry is not what the release format says."""


class EntryUnreadable(ReaderError):
    """An entry of the ledger cannot be read from its disk."""


class BadId(ReaderError, ValueError):
    """An id that no user or item of this data set can have."""


class NoRelease(ReaderError):
    """Nothing is published at this address, or the pinned release is not there."""


class NotInThisRelease(ReaderError):
    """The release has no such vector or file; the message names it."""


class ReleaseCorrupt(ReaderError):
    """A file of a release is not the one that was published."""

    advice = "The release is damaged: restore the file, or roll back to (or pin) another release."

    def __init__(self, file: str, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}. {self.advice}")
        self.file = file
        self.expected = expected
        self.found = found


class ReleaseUnreadable(ReleaseCorrupt, FormatError):
    """A file of a release is the published one, but is not what the release format says."""

    advice = (
        "This reader cannot read the release: update the reader, or roll back to (or pin) another release."
    )


class NoUsableRelease(ReleaseCorrupt):
    """Every release that the ledger names is damaged; the message names all of them.

    Attributes
    ----------
    tried
        What is wrong with each, by release id, the newest day first.
    """

    def __init__(self, address: str, tried: Mapping[str, ReleaseCorrupt]) -> None:
        newest = next(iter(tried.values()))
        super().__init__(newest.file, newest.expected, newest.found)
        self.tried = tried
        lines = "".join(f"\n  {release_id}: {error}" for release_id, error in tried.items())
        self.args = (f"{address}: no release in the ledger is usable.{lines}",)
