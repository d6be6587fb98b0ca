"""The door for services: which release is current, and what it answers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nightjar_reader import format as fmt
from nightjar_reader.answers import CatalogueItem, Id, Neighbours, Popular, Recommendations, SimilarItems
from nightjar_reader.errors import FormatError, NoRelease
from nightjar_reader.files import Files
from nightjar_reader.release import Release
from nightjar_reader.verified import VerifiedFiles


@dataclass(frozen=True)
class _Current:
    entry: fmt.LedgerEntry | None
    releases: tuple[Release, ...]


class Reader:
    """Answers from the current release at an address.

    Every file is verified when it is first opened: the manifest against the ledger, the rest
    against the manifest. A reader keeps its release until `refresh`; it may be shared by threads.

    Parameters
    ----------
    releases_uri
        What ``NIGHTJAR_RELEASES`` names: ``file:///folder``, the path of a folder, or
        ``s3://bucket/prefix``. The usual AWS_* variables say where the S3 server is, and who asks.
    release_id
        Serve this release whatever the ledger says.
    verify
        Whether files are compared with the digests in the manifest, which reads each of them once
        from start to end, and of a release on S3 keeps a temporary copy of those asked for. Without
        it only the factors and the index are copied; lists are read row group by row group. The
        manifest itself is always verified.

    Raises
    ------
    NoRelease
        When nothing is published there.
    ReleaseCorrupt
        When a manifest is not the published one. Every answer may raise it for a file that it opens.

    Examples
    --------
    >>> reader = Reader("file:///data/published")  # doctest: +SKIP
    >>> reader.for_user(1364).items[:3]  # doctest: +SKIP
    (1082185, 981760, 995242)
    """

    def __init__(self, releases_uri: str, *, release_id: str | None = None, verify: bool = True) -> None:
        self._files = Files(releases_uri)
        self._uri = releases_uri
        self._verify = verify
        self._pinned = release_id
        self._current = self._open({})

    def _open(self, known: dict[str, Release]) -> _Current:
        if self._pinned is not None:
            return _Current(None, (self._release(self._pinned, None, known),))
        entry = self._latest()
        releases = (self._release(r.release_id, r.manifest_sha256, known) for r in entry.releases)
        return _Current(entry, tuple(releases))

    def _release(self, release_id: str, sha256: str | None, known: dict[str, Release]) -> Release:
        if not fmt.is_release_id(release_id):
            raise NoRelease(f"{release_id!r} is not a release id; expected YYYY-MM-DD and 12 hex digits")
        return known.get(release_id) or Release(
            VerifiedFiles(self._files, release_id, sha256, verify=self._verify)
        )

    def _sequences(self) -> list[int]:
        return fmt.sequences(self._files.names(fmt.LEDGER), self._files.uri(fmt.LEDGER))

    def _latest(self) -> fmt.LedgerEntry:
        if not (sequences := self._sequences()):
            raise NoRelease(
                f"{self._uri}: nothing is published here, {fmt.LEDGER}/ has no entry. Publish a night first "
                "(nightjar run night --partition YYYY-MM-DD), or check the address."
            )
        return self._entry(sequences[-1])

    def _entry(self, sequence: int) -> fmt.LedgerEntry:
        path = fmt.ledger_path(sequence)
        try:
            return fmt.parse_entry(self._files.read(path), sequence)
        except FormatError as error:
            raise FormatError(f"{self._files.uri(path)}: {error}") from error

    def refresh(self) -> bool:
        """Follow the ledger; whether it has a newer entry than the one served so far.

        Where this raises, the reader goes on serving what it served.
        """
        before = self._current
        after = self._open({release.release_id: release for release in before.releases})
        self._current = after
        return before.entry != after.entry

    @property
    def entry(self) -> fmt.LedgerEntry | None:
        """The ledger entry that is served; None for a pinned release."""
        return self._current.entry

    @property
    def release(self) -> Release:
        """The release that is served; the first one where the ledger splits users between several."""
        return self._current.releases[0]

    @property
    def release_id(self) -> str:
        """The id of `release`."""
        return self.release.release_id

    @property
    def manifest(self) -> fmt.Manifest:
        """The manifest of `release`."""
        return self.release.manifest

    def releases(self) -> list[fmt.LedgerEntry]:
        """Every entry of the ledger, newest first."""
        return [self._entry(sequence) for sequence in reversed(self._sequences())]

    def _of(self, user_id: Id) -> Release:
        current = self._current
        if current.entry is None or len(current.releases) == 1:
            return current.releases[0]
        user_id = current.releases[0].checked_id(user_id)
        return current.releases[current.entry.arm(user_id)]

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
        return self._of(user_id).for_user(user_id)

    def similar_items(self, item_id: Id) -> SimilarItems:
        """The items most like one item.

        Returns
        -------
        SimilarItems
            With ``fallback`` 2 and the popular items where the release has no list of the item.
        """
        return self.release.similar_items(item_id)

    def popular(self, segment: str | None = None) -> Popular:
        """The popular items of a segment; those of all users (``segment`` None) where it has none."""
        return self.release.popular(segment)

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
            return self._of(user).nearest_to_user(user, n)
        assert item is not None
        return self.release.nearest_to_item(item, n)

    def catalogue(self, item_ids: Iterable[Id]) -> dict[Id, CatalogueItem]:
        """Name and category of items, by id; items that the catalogue lacks are left out."""
        return self.release.catalogue(item_ids)

    def users(self) -> Iterator[Id]:
        """Every user that has a list, in the order of the files (not of the ids)."""
        return self.release.users()
