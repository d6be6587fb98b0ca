"""What a release changes for users, compared with the current one; for people, in provenance."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.disk import sha256_of
from lake.sections import ListsSection
from lake.storage import Storage
from nightjar_reader import format as fmt
from nightjar_reader.errors import ReaderError
from validation.gate import WARNING, Check

log = logging.getLogger(__name__)

TOP: Final = 10  # the head of a list, which people see first
_CHECK: Final = "top_ten_changed_share"


@dataclass(frozen=True)
class Changes:
    """How many users find other items, or another order, at the top of their list.

    Attributes
    ----------
    before
        The release compared with, the first of those current; None where there was none.
    users
        Users who have a list in both.
    top_ten_changed
        How many of them have another top ten.
    reason
        Why nothing was compared.
    """

    before: str | None
    users: int = 0
    top_ten_changed: int = 0
    reason: str = ""


def compare(releases: Storage, built: bytes, current: Sequence[fmt.LedgerRelease]) -> Changes:
    """Compare a release that was built with the one that is current.

    A damaged or unreadable release does not hold the next one up: then nothing is compared, and the
    result says why.

    Parameters
    ----------
    built
        The manifest of the new release.
    current
        The releases that readers follow.
    """
    if not current:
        return Changes(None, reason="nothing was published before")
    before = current[0].release_id
    try:
        old = _tops(releases, before, _manifest(releases, current[0]))
        return _compare(before, old, _tops(releases, fmt.release_id(built), built))
    except (OSError, ValueError, LookupError, pa.ArrowException, ReaderError) as error:
        log.warning("not compared with %s: %s", before, error)
        return Changes(before, reason=f"{type(error).__name__}: {error}")


def check(changes: Changes, sizes: ListsSection) -> list[Check]:
    """Warn where more users than allowed get another top ten; nothing where nothing was compared."""
    if changes.reason:
        return []
    share, most = changes.top_ten_changed / max(changes.users, 1), sizes.max_changed_share
    sentence = f"{changes.top_ten_changed} of {changes.users} users ({share:.2%}) against {changes.before}"
    return [Check(_CHECK, WARNING, share <= most, sentence, f"at most {most:.2%} of the users")]


def _manifest(releases: Storage, release: fmt.LedgerRelease) -> bytes:
    path = fmt.manifest_path(release.release_id)
    content = releases.read(path)
    _require(path, release.manifest_sha256, fmt.sha256(content))
    return content


def _tops(releases: Storage, release_id: str, content: bytes) -> pa.Table:
    """Every user with the first `TOP` items of the list; null beyond its end."""
    manifest = fmt.parse(content)
    lists = map(fmt.lists_path, range(manifest.buckets))
    return pa.concat_tables(
        [_top(releases, fmt.release_path(release_id, file), manifest.files[file].sha256) for file in lists]
    )


def _require(path: str, expected: str, sha256: str) -> None:
    if sha256 != expected:
        raise ValueError(f"{path}: expected sha256 {expected}, found {sha256}")


def _top(storage: Storage, path: str, sha256: str) -> pa.Table:
    with storage.fetched(path) as local:
        _require(path, sha256, sha256_of(local))
        rows = pq.read_table(local, columns=[fmt.USER_ID, fmt.ITEM_IDS])
    tops = pc.list_slice(rows[fmt.ITEM_IDS], 0, TOP, return_fixed_size_list=True)
    return rows.set_column(1, fmt.ITEM_IDS, tops)


def _compare(before: str, old: pa.Table, new: pa.Table) -> Changes:
    places = pc.index_in(new[fmt.USER_ID], value_set=old[fmt.USER_ID].combine_chunks())
    both = pc.is_valid(places)
    was = _items(old.take(places.filter(both)))
    now = _items(new.filter(both))
    changed = pc.not_equal(was, now).fill_null(False)
    shorter = pc.xor(pc.is_null(was), pc.is_null(now))
    differs = np.asarray(pc.or_(changed, shorter)).reshape(-1, TOP)
    return Changes(before, len(differs), int(differs.any(axis=1).sum()))


def _items(rows: pa.Table) -> pa.Array:
    """The items of all lists end to end, `TOP` a list."""
    lists = rows[fmt.ITEM_IDS].combine_chunks()
    return lists.values.slice(lists.offset * TOP, len(lists) * TOP)
