"""Releases and their ledger: a release is put once, and only an entry of the ledger makes it current.

Its files are put as they are built, and its manifest once their checks have passed: without a manifest
there is no release, so that nobody reads, publishes or rolls back to what was refused.

A writer reads the ledger first, then the release to publish. So it has seen all entries before its own,
and a release that is no older than those that the earlier writers saw: a slow writer cannot move readers
back. A reader follows when it refreshes (`nightjar_reader.reader`), and by itself leaves a damaged release.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lake.errors import PermanentError
from lake.ledger import Ledger, damaged
from lake.partitions import stamp
from lake.storage import Storage
from nightjar_reader import format as fmt
from nightjar_reader.errors import is_of_this_process

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A release's id and its manifest's SHA-256: an entry may name an id with a digest that is not its own."""

State = Literal["published", "current", "kept", "withdrawn"]


@dataclass(frozen=True)
class Candidate:
    """A release that may become current."""

    release_id: str
    manifest_sha256: str
    as_of: str

    @property
    def key(self) -> Key:
        """What tells it from others, as `LedgerRelease.key` does."""
        return self.release_id, self.manifest_sha256


@dataclass(frozen=True)
class Publication:
    """What became of a release.

    Attributes
    ----------
    sequence
        The ledger entry that makes it current; None where none does.
    state
        ``published`` by a new entry; ``current`` already; ``kept`` as its day is before the newest
        ever published; ``withdrawn`` as readers were rolled back from it.
    """

    release_id: str
    sequence: int | None
    state: State

    def __str__(self) -> str:
        entry = f" (ledger entry {self.sequence})" if self.sequence else ", readers stay where they are"
        words = {"kept": "kept, not published", "withdrawn": "rolled back from, not published"}
        return f"{self.release_id}: {words.get(self.state, self.state)}{entry}"


def put_files(storage: Storage, folder: Path, manifest: bytes) -> None:
    """Put the files that a manifest names, create-only, and the manifest itself not yet.

    Parameters
    ----------
    folder
        A local folder that holds them.

    Raises
    ------
    PermanentError
        When one is there with other content.
    """
    release_id = fmt.release_id(manifest)
    for file, entry in sorted(fmt.parse(manifest).files.items()):
        path = fmt.release_path(release_id, file)
        if not storage.put_file(path, folder / file):
            _require_equal(storage, path, entry.sha256)


def put_manifest(storage: Storage, manifest: bytes) -> None:
    """Make a release of files that `put_files` has put; it may be repeated.

    Raises
    ------
    PermanentError
        When a file is missing, cut or changed, or there is another manifest.
    """
    release_id, content = fmt.release_id(manifest), fmt.parse(manifest)
    _require_whole(storage, release_id, content, f"run precompute of {content.as_of} again")
    path = fmt.manifest_path(release_id)
    if not storage.put_new(path, manifest):
        _require_equal(storage, path, fmt.sha256(manifest))


def _require_equal(storage: Storage, path: str, sha256: str) -> None:
    """Refuse a file that is there with other bytes than those to put."""
    if (stored := storage.sha256(path)) != sha256:
        raise PermanentError(
            f"{storage.uri(path)}: expected sha256 {sha256}, found a file of {stored}; "
            "it is damaged: remove that release's folder and run precompute of its day again"
        )


def entries(
    storage: Storage, known: Sequence[fmt.LedgerEntry] = (), whole: bool = True
) -> list[fmt.LedgerEntry]:
    """The entries of the ledger, oldest first; those that are known are not read again.

    Parameters
    ----------
    whole
        Refuse a ledger with a damaged older entry: for callers that decide by earlier publications and
        rollbacks. Else such an entry is left out with a warning; the newest never is.

    Raises
    ------
    PermanentError
        When an entry is damaged, or was written for newer programs.
    """
    ledger = Ledger(storage, fmt.LEDGER)
    new = [sequence for sequence in ledger.sequences() if not known or sequence > known[-1].sequence]
    older = (_older_entry(ledger, sequence, whole) for sequence in new[:-1])
    return [*known, *filter(None, older), *(_entry(ledger, sequence) for sequence in new[-1:])]


def _older_entry(ledger: Ledger, sequence: int, whole: bool) -> fmt.LedgerEntry | None:
    try:
        return _entry(ledger, sequence)
    except PermanentError as error:
        if whole:
            raise PermanentError(
                f"{error}. Without it nobody knows whether a release would move readers back; where there is "
                "no copy, publish with --force, or move that file elsewhere, which forgets what it says. "
                "A rollback goes on without it"
            ) from error
        log.warning("%s. This goes on without that entry", error)
        return None


def _entry(ledger: Ledger, sequence: int) -> fmt.LedgerEntry:
    try:
        return fmt.entry_of(ledger.read(sequence), sequence)
    except fmt.FormatError as error:
        raise damaged(ledger.uri(sequence), error) from error


def current(history: Sequence[fmt.LedgerEntry]) -> tuple[fmt.LedgerRelease, ...]:
    """The releases that readers follow."""
    return history[-1].releases if history else ()


def _keys(history: Sequence[fmt.LedgerEntry]) -> list[Key]:
    return [release.key for release in current(history)]


def withdrawn(history: Sequence[fmt.LedgerEntry]) -> set[str]:
    """The releases that readers were rolled back from, and that no later entry has named again."""
    left: set[str] = set()
    before: set[str] = set()
    for entry in history:
        if entry.kind == fmt.ROLLBACK:
            left |= before
        before = {release.release_id for release in entry.releases}
        left -= before
    return left


def state_of(history: Sequence[fmt.LedgerEntry], release: Candidate, force: bool = False) -> State:
    """What becomes of a release; ``published`` means that an entry has to be appended."""
    if release.key in _keys(history):
        return "current"
    if force:
        return "published"
    if release.release_id in withdrawn(history):
        return "withdrawn"
    newest = max((entry.as_of for entry in history if entry.kind != fmt.ROLLBACK), default="")
    return "kept" if release.as_of < newest else "published"


def make_current(
    storage: Storage, candidate: Callable[[], Candidate], actor: str, reason: str, force: bool = False
) -> Publication:
    """Make a release current unless that would move readers back.

    Parameters
    ----------
    candidate
        Called again each time that another writer was faster.
    force
        Also publish an older day, or a release that was rolled back from, even when older entries are
        damaged.

    Raises
    ------
    PermanentError
        When a file of the release is missing, cut or changed, or its manifest is another's.
    """
    history: list[fmt.LedgerEntry] = []
    while True:
        history = entries(storage, history, whole=not force)
        release = candidate()
        state = state_of(history, release, force)
        if state != "published":
            return _stays(history, release, state)
        entry = _next(history, fmt.PUBLISH, [_verified(storage, release)], actor, reason)
        if _append(storage, entry):
            log.info("%s is current by ledger entry %d", release.release_id, entry.sequence)
            return Publication(release.release_id, entry.sequence, "published")


def _verified(storage: Storage, release: Candidate) -> Candidate:
    """The release as it is stored: no reader would find one that an entry names by another digest."""
    stored = verify(storage, release.release_id)
    if stored.key != release.key:
        raise PermanentError(
            f"release {release.release_id}: expected a manifest of sha256 {release.manifest_sha256}, found "
            f"{stored.manifest_sha256}; nothing is published: run precompute of {release.as_of} again"
        )
    return stored


def _stays(history: Sequence[fmt.LedgerEntry], release: Candidate, state: State) -> Publication:
    done = Publication(release.release_id, history[-1].sequence if state == "current" else None, state)
    log.info("%s", done)
    return done


def _next(
    history: Sequence[fmt.LedgerEntry],
    kind: str,
    releases: Sequence[Candidate],
    actor: str,
    reason: str,
    weights: Sequence[float] = (1,),
    experiment: fmt.Experiment | None = None,
) -> fmt.LedgerEntry:
    """The entry after those read."""
    return fmt.LedgerEntry(
        sequence=history[-1].sequence + 1 if history else 1,
        kind=kind,
        releases=tuple(
            fmt.LedgerRelease(release.release_id, release.manifest_sha256, weight)
            for release, weight in zip(releases, weights, strict=True)
        ),
        as_of=max(release.as_of for release in releases),
        actor=actor,
        reason=reason,
        written_at=stamp(),
        experiment=experiment,
    )


def _append(storage: Storage, entry: fmt.LedgerEntry) -> bool:
    """Append an entry that every reader will take; False where another writer was faster."""
    try:
        fmt.entry_of(entry.to_json(), entry.sequence)
    except fmt.FormatError as error:
        raise PermanentError(f"{error}; nothing is published") from error
    return Ledger(storage, fmt.LEDGER).append(entry.sequence, entry.to_json())


def rollback(storage: Storage, release_id: str, reason: str, actor: str) -> Publication:
    """Make readers follow an existing release, whatever its day.

    Only the newest entry is needed: damaged older ones do not stop it.

    Raises
    ------
    PermanentError
        When no reason is given, there is no such release, or a file of it is missing, cut or changed.
    """
    if not reason.strip():
        raise PermanentError("a rollback needs a reason; it is kept in the ledger")
    release = verify(storage, release_id)
    history: list[fmt.LedgerEntry] = []
    while True:
        history = entries(storage, history, whole=False)
        if _keys(history) == [release.key]:
            return _stays(history, release, "current")
        entry = _next(history, fmt.ROLLBACK, [release], actor, reason)
        if _append(storage, entry):
            log.info("rolled back to %s by ledger entry %d: %s", release_id, entry.sequence, reason)
            return Publication(release_id, entry.sequence, "published")


def split(
    storage: Storage, weights: Mapping[str, float], experiment: fmt.Experiment, reason: str, actor: str
) -> int:
    """Share the users between existing releases.

    Parameters
    ----------
    weights
        Release -> its part of the users, relative to the others.
    experiment
        Its salt decides which users get which release: another one shares them out anew.

    Returns
    -------
    int
        The ledger entry that says so.

    Raises
    ------
    PermanentError
        When a weight is not above 0, the experiment has no name or salt, there is no such release,
        or a file of one is missing, cut or changed.
    """
    releases = [verify(storage, release_id) for release_id in weights]
    history: list[fmt.LedgerEntry] = []
    while True:
        history = entries(storage, history, whole=False)
        entry = _next(history, fmt.PUBLISH, releases, actor, reason, list(weights.values()), experiment)
        if _append(storage, entry):
            log.info("experiment %s begins with ledger entry %d", experiment.name, entry.sequence)
            return entry.sequence


def verify(storage: Storage, release_id: str) -> Candidate:
    """Compare every file of a release with its manifest: presence, length and digest.

    Raises
    ------
    PermanentError
        Naming the first file that is not as it was published.
    """
    content, manifest = _manifest(storage, release_id)
    _require_whole(storage, release_id, manifest, "restore it, or choose another")
    return Candidate(release_id, fmt.sha256(content), manifest.as_of)


def _require_whole(storage: Storage, release_id: str, manifest: fmt.Manifest, advice: str) -> None:
    for file, entry in sorted(manifest.files.items()):
        if wrong := _difference(storage, fmt.release_path(release_id, file), entry):
            raise PermanentError(f"release {release_id} is damaged: {file}: {wrong}; {advice}")


def _manifest(storage: Storage, release_id: str) -> tuple[bytes, fmt.Manifest]:
    try:
        if not fmt.is_release_id(release_id):
            raise fmt.FormatError("expected YYYY-MM-DD and 12 hex digits")
        content = storage.read(fmt.manifest_path(release_id))
        manifest = fmt.parse(content)
    except (OSError, fmt.FormatError) as error:
        if isinstance(error, OSError) and is_of_this_process(error):
            raise
        raise PermanentError(
            f"{storage.root} has no whole release {release_id!r} ({error}); "
            "`nightjar releases` names those there are"
        ) from error
    if fmt.release_id(content) != release_id:
        raise PermanentError(f"release {release_id} is damaged: its manifest is another's; choose another")
    return content, manifest


def _difference(storage: Storage, path: str, entry: fmt.FileEntry) -> str:
    """How a file differs from what the manifest says of it; empty where it does not."""
    try:
        if not storage.exists(path):
            return "expected a file, found none"
        if (size := storage.size(path)) != entry.bytes:
            return f"expected {entry.bytes} bytes, found {size}"
        digest = storage.sha256(path)
    except OSError as error:  # of a disk; a server's are no OSErrors
        if is_of_this_process(error):
            raise
        return f"expected a file that can be read, found {error}"
    return "" if digest == entry.sha256 else f"expected sha256 {entry.sha256}, found {digest}"
