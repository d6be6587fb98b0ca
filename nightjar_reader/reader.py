"""What services use: the current release, and its answers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

from nightjar_reader import forks
from nightjar_reader import format as fmt
from nightjar_reader.answers import CatalogueItem, Id, Neighbours, Popular, Recommendations, SimilarItems
from nightjar_reader.cache import Cache
from nightjar_reader.errors import ReleaseCorrupt
from nightjar_reader.files import Files
from nightjar_reader.published import Published, Served
from nightjar_reader.release import Release

T = TypeVar("T")


@dataclass(frozen=True)
class Stats:
    """The damage that a reader has met.

    Attributes
    ----------
    left
        How often it found a release damaged and left it for the one before.
    damaged
        What is wrong with the releases that are left out now, by id.
    """

    left: int
    damaged: Mapping[str, ReleaseCorrupt]


class Reader:
    """Answers from the current release at an address.

    Every file is verified when it is first opened: the manifest against the ledger, the rest
    against the manifest. A reader keeps its release until `refresh`.

    A release may turn out to be damaged, also in the middle of an answer. It is then left for the entry
    before it in the ledger, with one warning; an answer is always whole from one release. Where the ledger
    splits users between several releases, all of them are left when one is damaged. `refresh` verifies a
    damaged release again, and serves it when all its files are whole. A server that cannot be reached is
    no damage: the call raises, and the next one tries again.

    Threads may share a reader: a file is read once for all of them. A process that is forked from one with
    a reader may use that reader: it connects anew. A fork waits until requests under way are answered. All
    processes of a user share one cache of files on S3.

    Parameters
    ----------
    releases_uri
        What ``NIGHTJAR_RELEASES`` names: ``file:///folder``, the path of a folder, or
        ``s3://bucket/prefix``. The usual AWS_* variables name the S3 server and the keys.
    release_id
        Serve this release whatever the ledger says; no other takes its place when it is damaged.
    verify
        Whether files are compared with the digests in the manifest when they are first opened. Each is
        then read once from start to end, and files on S3 are copied. Without it lists are read row
        group by row group, and only other files on S3 are copied. The manifest is always verified.
    cache
        The folder for copies of files on S3, a path or ``file:///folder``; else
        ``NIGHTJAR_READER_CACHE``, else ``nightjar-reader`` in the user's cache folder. It belongs to one
        user, and nobody else may write there.
    cache_bytes
        How much it may hold, else ``NIGHTJAR_READER_CACHE_BYTES``, else 4 GiB: at least the releases
        served before and after a `refresh`. What does not fit is kept in memory.

    Raises
    ------
    NoRelease
        When nothing is published there, or the pinned release is missing.
    ReleaseCorrupt
        When a pinned release is damaged, or all that the ledger names are (`NoUsableRelease`). Every
        answer may raise it for a file that it opens.
    ReaderError
        When the server cannot be reached, or the cache's folder cannot be used.

    Examples
    --------
    >>> reader = Reader(releases_uri)
    >>> best = reader.for_user(3)
    >>> best.items[:3]
    (515, 512, 501)
    >>> reader.catalogue(best.items[:1])
    {515: CatalogueItem(item_id=515, name='name 15', category='food')}
    >>> reader.for_user(1364).fallback  # whom the release does not know: popular items
    2
    """

    def __init__(
        self,
        releases_uri: str,
        *,
        release_id: str | None = None,
        verify: bool = True,
        cache: str | Path | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        files = Files(releases_uri)
        copies = Cache.chosen(cache, cache_bytes) if files.is_remote else Cache(None)
        self._published = Published(files, copies, verify=verify)
        self.after_fork()
        forks.register(self)
        self._served = self._published.newest() if release_id is None else self._published.pinned(release_id)

    def after_fork(self) -> None:
        """Make the lock anew: in a forked process no thread releases it. Called at each fork."""
        self._moving = Lock()

    def refresh(self) -> bool:
        """Follow the ledger; returns whether another entry is served than before.

        If this raises, the reader goes on serving what it served.
        """
        with self._moving:
            before = self._served
            if before.entry is not None:
                self._served = self._published.newest(before.releases)
            return before.entry != self._served.entry

    @property
    def stats(self) -> Stats:
        """Which releases were found damaged."""
        return Stats(self._published.left, self._published.damaged_ids())

    @property
    def entry(self) -> fmt.LedgerEntry | None:
        """The ledger entry that is served; None for a pinned release."""
        return self._served.entry

    @property
    def release(self) -> Release:
        """The release that is served; the first one where the ledger splits users between several."""
        return self._served.releases[0]

    @property
    def release_id(self) -> str:
        """The id of `release`."""
        return self.release.release_id

    @property
    def manifest(self) -> fmt.Manifest:
        """The manifest of `release`."""
        return self.release.manifest

    def releases(self) -> list[fmt.LedgerEntry]:
        """Every entry of the ledger, newest first; damaged older ones are left out with a warning."""
        return self._published.entries()

    def _answer(self, ask: Callable[[Release], T], user_id: Id | None = None) -> T:
        """Ask the release of a user, or the first one; if it is damaged, ask the entry before."""
        while True:
            served = self._served  # once: another thread may follow the ledger meanwhile
            release = served.releases[0]
            try:
                if user_id is not None and len(served.releases) > 1:
                    release = _arm(served, user_id)
                return ask(release)
            except ReleaseCorrupt as error:
                if served.entry is None:
                    raise
                self._leave(served, release, error)

    def _leave(self, served: Served, release: Release, error: ReleaseCorrupt) -> None:
        with self._moving:
            if self._served is served:  # else another thread has moved on from it
                self._published.leave(release.key, error)
                self._served = self._published.before(served)

    def for_user(self, user_id: Id) -> Recommendations:
        """A user's list.

        Parameters
        ----------
        user_id
            An id of the data set; where ids are int64, a text that is a whole number will do.

        Returns
        -------
        Recommendations
            With ``fallback`` 2 and the popular items for a user that the release does not know.

        Raises
        ------
        BadId
            When no user can have such an id.
        """
        return self._answer(lambda release: release.for_user(user_id), user_id)

    def similar_items(self, item_id: Id) -> SimilarItems:
        """The items most like one item.

        Returns
        -------
        SimilarItems
            With ``fallback`` 2 and the popular items where the release has no list of the item.
        """
        return self._answer(lambda release: release.similar_items(item_id))

    def popular(self, segment: str | None = None) -> Popular:
        """The popular items of a segment; those of all users (``segment`` None) where it has none."""
        return self._answer(lambda release: release.popular(segment))

    def nearest(self, n: int = 10, *, user: Id | None = None, item: Id | None = None) -> Neighbours:
        """Search the factors for the items nearest to a user or to an item.

        Nothing is filtered: what the user has seen may be among them.

        Parameters
        ----------
        n
            How many.
        user, item
            Exactly one of them. A user is searched exactly, by inner product; an item by cosine,
            through the Annoy index where release and machine have it, else exactly.

        Raises
        ------
        NotInThisRelease
            When the release has no factors, or none of this user or item.
        """
        if (user is None) == (item is None):
            raise TypeError("nearest() takes either user or item")
        if user is not None:
            return self._answer(lambda release: release.nearest_to_user(user, n), user)
        assert item is not None
        return self._answer(lambda release: release.nearest_to_item(item, n))

    def catalogue(self, item_ids: Iterable[Id]) -> dict[Id, CatalogueItem]:
        """Name and category of items, by id; items that the catalogue lacks are left out."""
        ids = list(item_ids)
        return self._answer(lambda release: release.catalogue(ids))

    def users(self) -> Iterator[Id]:
        """Every user that has a list, in the order of the files (not of the ids)."""
        return self._answer(Release.opened_users)


def _arm(served: Served, user_id: Id) -> Release:
    """The release of a user where the ledger splits them."""
    assert served.entry is not None
    user_id = served.releases[0].checked_id(user_id)
    return served.releases[served.entry.arm(user_id)]
