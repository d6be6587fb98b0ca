"""What is published at an address: the ledger, and the newest release in it that can be served."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from nightjar_reader_v1 import format as fmt
from nightjar_reader_v1.cache import Cache
from nightjar_reader_v1.errors import (
    EntryUnreadable,
    FormatError,
    NoRelease,
    NoUsableRelease,
    ReaderError,
    ReleaseCorrupt,
    is_of_this_process,
)
from nightjar_reader_v1.files import Files
from nightjar_reader_v1.release import Release
from nightjar_reader_v1.verified import VerifiedFiles

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """An entry of the ledger and its releases, in its order; without an entry, a pinned release.

    Attributes
    ----------
    newest
        The number of the newest entry that there was when the ledger was followed.
    """

    entry: fmt.LedgerEntry | None
    releases: tuple[Release, ...]
    newest: int = 0


class Published:
    """The releases at an address.

    An entry is served whole or not at all: where one of its releases is damaged, all of it is left for
    the entry before, whatever that is, so that arms of different entries are never mixed.

    Attributes
    ----------
    damaged
        What is wrong with releases that were found damaged, by id and manifest's SHA-256.
    left
        How often a release was found damaged.
    """

    def __init__(self, files: Files, cache: Cache, *, verify: bool) -> None:
        self._files = files
        self._cache = cache
        self._verify = verify
        self._last_resort = -1
        self._passed_over = set[int]()
        self.damaged: dict[tuple[str, str], ReleaseCorrupt] = {}
        self.left = 0

    def sequences(self) -> list[int]:
        """The numbers of all entries, ascending."""
        return fmt.sequences(self._files.names(fmt.LEDGER), self._files.uri(fmt.LEDGER))

    def entry(self, sequence: int) -> fmt.LedgerEntry:
        """One entry; `FormatError` where it is none, `EntryUnreadable` where its disk does not give it."""
        path = fmt.ledger_path(sequence)
        try:
            return fmt.parse_entry(self._files.read(path), sequence)
        except FormatError as error:
            raise FormatError(f"{self._files.uri(path)}: {error}") from error
        except OSError as error:  # of a disk; a server's are no OSErrors
            if is_of_this_process(error):
                raise
            raise EntryUnreadable(
                f"{self._files.uri(path)}: expected a ledger entry that can be read, found {error}"
            ) from error

    def entries(self) -> list[fmt.LedgerEntry]:
        """All entries, newest first; as `entry` raises where the newest is none."""
        return list(self._entries(self.sequences()))

    def pinned(self, release_id: str) -> Served:
        """A release by its id alone."""
        return Served(None, (self._open(release_id, None),))

    def _open(self, release_id: str, sha256: str | None) -> Release:
        if not fmt.is_release_id(release_id):
            raise NoRelease(f"{release_id!r} is not a release id; expected YYYY-MM-DD and 12 hex digits")
        return Release(VerifiedFiles(self._files, self._cache, release_id, sha256, verify=self._verify))

    def newest(self, known: tuple[Release, ...] = ()) -> Served:
        """The newest entry that can be served; releases left as damaged are looked at again.

        Parameters
        ----------
        known
            Releases that need not be opened again.

        Raises
        ------
        NoRelease
            When the ledger has no entry.
        FormatError
            When the newest entry is none: what it asks for is not known, so no older one may be served.
        EntryUnreadable
            When the newest entry cannot be read.
        NoUsableRelease
            When every release in the ledger is damaged.
        """
        if not (sequences := self.sequences()):
            raise NoRelease(
                f"{self._files.uri('')}: nothing is published here, {fmt.LEDGER}/ has no entry. Publish "
                "a night first (nightjar run night --partition YYYY-MM-DD), or check the address."
            )
        return self._first_usable(sequences, known, again=True)

    def before(self, served: Served) -> Served:
        """The first entry in turn without a release left as damaged, of those there were at the last look."""
        sequences = [number for number in self.sequences() if number <= served.newest]
        return self._first_usable(sequences, served.releases, again=False)

    def leave(self, key: tuple[str, str], error: ReleaseCorrupt) -> None:
        """Note that a release is damaged, with a warning when that is new."""
        if key not in self.damaged:
            self.left += 1
            _log.warning("release %s is left for the one before it in the ledger: %s", key[0], error)
        self.damaged[key] = _without_frames(error)

    def damaged_ids(self) -> dict[str, ReleaseCorrupt]:
        """What is wrong with releases that were found damaged, by id, the newest day first."""
        return {release_id: error for (release_id, _), error in sorted(self.damaged.items(), reverse=True)}

    def _first_usable(self, sequences: list[int], known: tuple[Release, ...], *, again: bool) -> Served:
        tried: dict[tuple[str, str], ReleaseCorrupt] = {}
        for entry, is_passed in self._in_turn(sequences):
            releases = self._usable(entry, known, tried, again=again)
            if len(releases) == len(entry.releases):
                if is_passed:
                    self._tell_last_resort(entry)
                return Served(entry, releases, sequences[-1])
        raise NoUsableRelease(self._files.uri(""), self.damaged_ids())

    def _in_turn(self, sequences: list[int]) -> Iterator[tuple[fmt.LedgerEntry, bool]]:
        """Entries from the newest back, and last those that a rollback passed over, marked so.

        It passes over all since its release was last current, or the one before it, which readers
        were rolled back from, where it never was.
        """
        left, passed = self._entries(sequences), list[fmt.LedgerEntry]()
        while (entry := next(left, None)) is not None:
            yield entry, False
            if entry.kind == fmt.ROLLBACK:
                over, left = _passed_over(entry, left)
                passed += over
        yield from ((entry, True) for entry in passed)

    def _entries(self, sequences: list[int]) -> Iterator[fmt.LedgerEntry]:
        """Entries from the newest back, without older ones that nobody can serve, which a warning names."""
        for sequence in reversed(sequences):
            try:
                yield self.entry(sequence)
            except (FormatError, EntryUnreadable) as error:
                if sequence == sequences[-1]:
                    raise
                self._tell_passed_over(sequence, error)

    def _tell_passed_over(self, sequence: int, error: ReaderError) -> None:
        if sequence not in self._passed_over:
            _log.warning("%s. It is passed over, as it is not the newest: restore it", error)
        self._passed_over.add(sequence)

    def _tell_last_resort(self, entry: fmt.LedgerEntry) -> None:
        if entry.sequence != self._last_resort:
            told = ", ".join(sorted(_names(entry)))
            _log.warning("%s, which a rollback passed over, is served: no other release is whole", told)
        self._last_resort = entry.sequence

    def _usable(
        self,
        entry: fmt.LedgerEntry,
        known: tuple[Release, ...],
        tried: dict[tuple[str, str], ReleaseCorrupt],
        *,
        again: bool,
    ) -> tuple[Release, ...]:
        """Those releases of an entry that can be served; what is wrong with the others is in `tried`."""
        releases = []
        for named in entry.releases:
            if named.key not in tried:
                try:
                    releases.append(self._opened(named, known, again=again))
                except ReleaseCorrupt as error:
                    self.leave(named.key, error)
                    tried[named.key] = error
        return tuple(releases)

    def _opened(self, named: fmt.LedgerRelease, known: tuple[Release, ...], *, again: bool) -> Release:
        error = self.damaged.get(named.key)
        if error is None:
            alike = (release for release in known if release.key == named.key)
            return next(alike, None) or self._open(named.release_id, named.manifest_sha256)
        if not again or isinstance(error, FormatError):  # bytes as published: nothing to mend
            raise error
        release = self._open(named.release_id, named.manifest_sha256)
        release.verify(first=error.file)
        del self.damaged[named.key]
        return release


def _names(entry: fmt.LedgerEntry) -> set[str]:
    return {release.release_id for release in entry.releases}


def _passed_over(
    rollback: fmt.LedgerEntry, older: Iterator[fmt.LedgerEntry]
) -> tuple[list[fmt.LedgerEntry], Iterator[fmt.LedgerEntry]]:
    """Those that it passed over, last the one that readers were rolled back from; and those before them.

    Where its release was current before, that entry is the first of the latter: it may be a rollback too.
    """
    names, over = _names(rollback), list[fmt.LedgerEntry]()
    for entry in older:
        if names <= _names(entry):
            return [*over[1:], *over[:1]], chain([entry], older)
        over.append(entry)
    return over[:1], iter(over[1:])


def _without_frames(error: ReleaseCorrupt) -> ReleaseCorrupt:
    """The error to keep; where it and its causes were raised refers to all that the release has open."""
    left: BaseException | None = error
    while left is not None:
        left.__traceback__ = None
        left = left.__cause__ or left.__context__
    return error
