"""What a reader raises on purpose; each message says what to do next."""


class ReaderError(Exception):
    """Base of what a reader raises on purpose."""


class FormatError(ReaderError, ValueError):
    """A manifest or a ledger entry is not what the release format says."""


class BadId(ReaderError, ValueError):
    """An id that no user or item of this data set can have."""


class NoRelease(ReaderError):
    """Nothing is published at this address, or the pinned release is not there."""


class NotInThisRelease(ReaderError):
    """The release has no such vector or file; the message names it."""


class ReleaseCorrupt(ReaderError):
    """A file of a release is not the one that was published."""

    def __init__(self, file: str, expected: str, found: str) -> None:
        super().__init__(
            f"{file}: expected {expected}, found {found}. The release is damaged: "
            "restore the file, or roll back to (or pin) another release."
        )
        self.file = file
        self.expected = expected
        self.found = found
