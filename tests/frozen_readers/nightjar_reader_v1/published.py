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
    """An entry of the ledger with its releases, in its order; or a pinned release, without an entry.

    Attributes
    ----------
    newest
        The number of the newest entry when the ledger was read.
    """

    entry: fmt.LedgerEntry | None
    releases: tuple[Release, ...]
    newest: int = 0


class Published:
    """The releases at an address.

    An entry is served whole or not at all, so that arms of different entries are never mixed: if one of
    its releases is damaged, the entry before is served instead, whatever that is.

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
        self._warned = set[int]()
        self.damaged: dict[tuple[str, str], ReleaseCorrupt] = {}
        self.left = 0

    def sequences(self) -> list[int]:
        """The numbers of all entries, ascending."""
        return fmt.sequences(self._files.names(fmt.LEDGER), self._files.uri(fmt.LEDGER))

    def entry(self, sequence: int) -> fmt.LedgerEntry:
        """One entry; `FormatError` if it cannot be parsed, `EntryUnreadable` if its disk does not give it."""
        path = fmt.ledger_path(sequence)
        try:
            return fmt.parse_entry(self._files.read(path), sequence)
        except FormatError as error:
            raise FormatError(f"{self._files.uri(path)}: {error}") from error
        except OSError as error:  # of a disk: a server's are no OSErrors
            if is_of_this_process(error):
                raise
            raise EntryUnreadable(
                f"{self._files.uri(path)}: expected a ledger entry that can be read, found {error}"
            ) from error

    def entries(self) -> list[fmt.LedgerEntry]:
        """All entries, newest first; raises as `entry` does if the newest cannot be read."""
        return list(self._entries(self.sequences()))

    def pinned(self, release_id: str) -> Served:
        """A release by its id alone."""
        return Served(None, (self._open(release_id, None),))

    def _open(self, release_id: str, sha256: str | None) -> Release:
        if not fmt.is_release_id(release_id):
            raise NoRelease(f"{release_id!r} is not a release id; expected YYYY-MM-DD and 12 hex digits")
        return Release(VerifiedFiles(self._files, self._cache, release_id, sha256, verify=self._verify))

    def newest(self, known: tuple[Release, ...] = ()) -> Served:
        """The newest entry that can be served; releases that were found damaged are verified again.

        Parameters
        ----------
        known
            Releases that need not be opened again.

        Raises
        ------
        NoRelease
            When the ledger has no entry.
        FormatError
            When the newest entry cannot be parsed: what it says is unknown, so no older one may be served.
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
        return self._first_usable(sequences, known, recheck=True)

    def before(self, served: Served) -> Served:
        """The first entry in turn without a damaged release, among those that the last `newest` knew."""
        sequences = [number for number in self.sequences() if number <= served.newest]
        return self._first_usable(sequences, served.releases, recheck=False)

    def leave(self, key: tuple[str, str], error: ReleaseCorrupt) -> None:
        """Note that a release is damaged; warns if that is new."""
        if key not in self.damaged:
            self.left += 1
            _log.warning("release %s is left for the one before it in the ledger: %s", key[0], error)
        self.damaged[key] = _without_frames(error)

    def damaged_ids(self) -> dict[str, ReleaseCorrupt]:
        """What is wrong with releases that were found damaged, by id, the newest day first."""
        return {release_id: error for (release_id, _), error in sorted(self.damaged.items(), reverse=True)}

    def _first_usable(self, sequences: list[int], known: tuple[Release, ...], *, recheck: bool) -> Served:
        tried: dict[tuple[str, str], ReleaseCorrupt] = {}
        for entry, is_passed_over in self._in_turn(sequences):
            releases = self._usable(entry, known, tried, recheck=recheck)
            if len(releases) == len(entry.releases):
                if is_passed_over:
                    self._warn_last_resort(entry)
                return Served(entry, releases, sequences[-1])
        raise NoUsableRelease(self._files.uri(""), self.damaged_ids())

    def _in_turn(self, sequences: list[int]) -> Iterator[tuple[fmt.LedgerEntry, bool]]:
        """Entries from the newest back; last, and marked True, those that a rollback passed over.

        A rollback passes over all entries since its release was last current. If it never was, it passes
        over one entry: the one before it, which readers were rolled back from.
        """
        older, passed_over = self._entries(sequences), list[fmt.LedgerEntry]()
        while (entry := next(older, None)) is not None:
            yield entry, False
            if entry.kind == fmt.ROLLBACK:
                entries, older = _passed_over(entry, older)
                passed_over += entries
        yield from ((entry, True) for entry in passed_over)

    def _entries(self, sequences: list[int]) -> Iterator[fmt.LedgerEntry]:
        """Entries from the newest back. Older ones that cannot be read are left out with a warning."""
        for sequence in reversed(sequences):
            try:
                yield self.entry(sequence)
            except (FormatError, EntryUnreadable) as error:
                if sequence == sequences[-1]:
                    raise
                self._warn_passed_over(sequence, error)

    def _warn_passed_over(self, sequence: int, error: ReaderError) -> None:
        if sequence not in self._warned:
            _log.warning("%s. It is passed over, as it is not the newest: restore it", error)
        self._warned.add(sequence)

    def _warn_last_resort(self, entry: fmt.LedgerEntry) -> None:
        if entry.sequence != self._last_resort:
            names = ", ".join(sorted(_names(entry)))
            _log.warning("%s, which a rollback passed over, is served: no other release is whole", names)
        self._last_resort = entry.sequence

    def _usable(
        self,
        entry: fmt.LedgerEntry,
        known: tuple[Release, ...],
        tried: dict[tuple[str, str], ReleaseCorrupt],
        *,
        recheck: bool,
    ) -> tuple[Release, ...]:
        """Those releases of an entry that can be served; the errors of the others go into `tried`."""
        releases = []
        for reference in entry.releases:
            if reference.key not in tried:
                try:
                    releases.append(self._opened(reference, known, recheck=recheck))
                except ReleaseCorrupt as error:
                    self.leave(reference.key, error)
                    tried[reference.key] = error
        return tuple(releases)

    def _opened(self, reference: fmt.LedgerRelease, known: tuple[Release, ...], *, recheck: bool) -> Release:
        error = self.damaged.get(reference.key)
        if error is None:
            matches = (release for release in known if release.key == reference.key)
            return next(matches, None) or self._open(reference.release_id, reference.manifest_sha256)
        if not recheck or isinstance(error, FormatError):  # bytes as published: nothing to restore
            raise error
        release = self._open(reference.release_id, reference.manifest_sha256)
        release.verify(first=error.file)
        del self.damaged[reference.key]
        return release


def _names(entry: fmt.LedgerEntry) -> set[str]:
    return {release.release_id for release in entry.releases}


def _passed_over(
    rollback: fmt.LedgerEntry, older: Iterator[fmt.LedgerEntry]
) -> tuple[list[fmt.LedgerEntry], Iterator[fmt.LedgerEntry]]:
    """The entries that a rollback passed over, and an iterator of the entries before them.

    The entry that readers were rolled back from is the last of the first. If the rollback's release was
    current before, that entry is the first of the second, as it may be a rollback too.
    """
    names, newer = _names(rollback), list[fmt.LedgerEntry]()
    for entry in older:
        if names <= _names(entry):
            return [*newer[1:], *newer[:1]], chain([entry], older)
        newer.append(entry)
    return newer[:1], iter(newer[1:])


def _without_frames(error: ReleaseCorrupt) -> ReleaseCorrupt:
    """The error without tracebacks, its causes' too: they refer to all that the release has open."""
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    return error
