"""Releases and their ledger: a release is put whole, and only an entry of the ledger makes it current.

The ledger is read before the release to publish is asked for. So whoever appends an entry has seen
all entries before it and a release that is no older than those who wrote them saw: a slow writer
cannot move readers back.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lake.errors import PermanentError
from lake.ledger import Ledger
from lake.partitions import stamp
from lake.storage import Storage, sha256_of
from nightjar_reader import format as fmt

log = logging.getLogger(__name__)

State = Literal["published", "current", "kept", "withdrawn"]


@dataclass(frozen=True)
class Candidate:
    """A release that may become current."""

    release_id: str
    manifest_sha256: str
    as_of: str


@dataclass(frozen=True)
class Published:
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


def put_release(
    source: Storage, path_of: Callable[[str], str], target: Storage, release_id: str, manifest_sha256: str
) -> None:
    """Copy a release's files, create-only, the manifest last.

    Parameters
    ----------
    path_of
        Where a file of the release lies in `source`.

    Raises
    ------
    PermanentError
        When a file is there with other content, or a source file is not what the manifest says.
    """
    manifest = fmt.parse(source.read(path_of(fmt.MANIFEST)))
    for file, entry in sorted(manifest.files.items()):
        _copy(source, path_of(file), target, fmt.release_path(release_id, file), entry.sha256)
    _copy(source, path_of(fmt.MANIFEST), target, fmt.manifest_path(release_id), manifest_sha256)


def _copy(source: Storage, origin: str, target: Storage, path: str, sha256: str) -> None:
    with source.fetched(origin) as local:
        if (found := sha256_of(local)) != sha256:
            raise PermanentError(f"{origin}: built with sha256 {sha256}, now {found}; run precompute again")
        is_new = target.put_file(path, local)
    if not is_new and (there := target.sha256(path)) != sha256:
        raise PermanentError(
            f"{target.uri(path)}: expected sha256 {sha256}, found a file of {there}; "
            "it is damaged: remove that release's folder and publish again"
        )


def entries(storage: Storage, known: Sequence[fmt.LedgerEntry] = ()) -> list[fmt.LedgerEntry]:
    """All entries of the ledger, oldest first; those that are known are not read again."""
    ledger = Ledger(storage, fmt.LEDGER)
    new = (sequence for sequence in ledger.sequences() if not known or sequence > known[-1].sequence)
    return [*known, *(fmt.LedgerEntry.from_json(ledger.read(sequence)) for sequence in new)]


def current(history: Sequence[fmt.LedgerEntry]) -> tuple[str, ...]:
    """The releases that readers follow."""
    return tuple(release.release_id for release in history[-1].releases) if history else ()


def withdrawn(history: Sequence[fmt.LedgerEntry]) -> set[str]:
    """The releases that readers were rolled back from, and that no later entry has named again."""
    found: set[str] = set()
    for at, entry in enumerate(history):
        named = set(current(history[: at + 1]))
        if entry.kind == "rollback":
            found |= set(current(history[:at]))
        found -= named
    return found


def decide(history: Sequence[fmt.LedgerEntry], release: Candidate, force: bool = False) -> State:
    """Tell what is to become of a release; ``published`` means that an entry is to be appended."""
    if release.release_id in current(history):
        return "current"
    if force:
        return "published"
    if release.release_id in withdrawn(history):
        return "withdrawn"
    newest = max((entry.as_of for entry in history if entry.kind == "publish"), default="")
    return "kept" if release.as_of < newest else "published"


def publish(
    storage: Storage, candidate: Callable[[], Candidate], actor: str, reason: str, force: bool = False
) -> Published:
    """Make a release current unless that would move readers back.

    Parameters
    ----------
    candidate
        Asked anew each time that another writer was faster.
    force
        Also publish an older day, or a release that was rolled back from.
    """
    history: list[fmt.LedgerEntry] = []
    while True:
        history = entries(storage, history)
        release = candidate()
        state = decide(history, release, force)
        if state != "published":
            return _stays(history, release, state)
        if sequence := _append(storage, history, "publish", release, actor, reason):
            log.info("%s is current by ledger entry %d", release.release_id, sequence)
            return Published(release.release_id, sequence, "published")


def _stays(history: Sequence[fmt.LedgerEntry], release: Candidate, state: State) -> Published:
    done = Published(release.release_id, history[-1].sequence if state == "current" else None, state)
    log.info("%s", done)
    return done


def _append(
    storage: Storage,
    history: Sequence[fmt.LedgerEntry],
    kind: fmt.Kind,
    release: Candidate,
    actor: str,
    reason: str,
) -> int:
    """Append an entry after those read; 0 where another writer was faster."""
    sequence = history[-1].sequence + 1 if history else 1
    named = (fmt.LedgerRelease(release.release_id, release.manifest_sha256),)
    entry = fmt.LedgerEntry(sequence, kind, named, release.as_of, actor, reason, stamp())
    return sequence if Ledger(storage, fmt.LEDGER).append(sequence, entry.to_json()) else 0


def rollback(storage: Storage, release_id: str, reason: str, actor: str) -> Published:
    """Make readers follow a release that is there, whatever its day.

    Raises
    ------
    PermanentError
        When no reason is given, or there is no such release, or a file of it is missing.
    """
    if not reason.strip():
        raise PermanentError("a rollback needs a reason; it is kept in the ledger")
    release = _existing(storage, release_id)
    history: list[fmt.LedgerEntry] = []
    while True:
        history = entries(storage, history)
        if current(history) == (release_id,):
            return _stays(history, release, "current")
        if sequence := _append(storage, history, "rollback", release, actor, reason):
            log.info("rolled back to %s by ledger entry %d: %s", release_id, sequence, reason)
            return Published(release_id, sequence, "published")


def _existing(storage: Storage, release_id: str) -> Candidate:
    try:
        content = storage.read(fmt.manifest_path(release_id))
        manifest = fmt.parse(content)
    except (FileNotFoundError, ValueError) as error:
        raise PermanentError(
            f"{storage.root} has no whole release {release_id!r} ({error}); "
            "`nightjar releases` names those there are"
        ) from error
    there = set(storage.list(fmt.release_path(release_id)))
    lost = [file for file in sorted(manifest.files) if fmt.release_path(release_id, file) not in there]
    if lost or fmt.release_id(content) != release_id:
        what = f"{len(lost)} files are missing, first {lost[0]}" if lost else "its manifest is another's"
        raise PermanentError(f"release {release_id} is damaged: {what}; choose another")
    return Candidate(release_id, fmt.sha256(content), manifest.as_of)
