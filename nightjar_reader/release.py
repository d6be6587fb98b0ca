"""One release, and the answers that its files give."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nightjar_reader import format as fmt
from nightjar_reader.answers import CatalogueItem, Id, Neighbours, Popular, Recommendations, SimilarItems
from nightjar_reader.errors import BadId, NotInThisRelease
from nightjar_reader.fields import shown
from nightjar_reader.keyed import KeyedFile, position
from nightjar_reader.once import Once, once
from nightjar_reader.rows import Row, Rows
from nightjar_reader.search import (
    Codes,
    ExactSearch,
    Floats,
    exact_scores,
    ranked,
    refuse_negative,
    unit_rows,
)
from nightjar_reader.verified import VerifiedFiles

_ROWS = 4096  # rows kept in memory, of the ids that were read last
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_INT64 = range(-(2**63), 2**63)


class Release:
    """A published release; its answers are all from it. Threads may share it, and forked processes.

    Nothing in it refers back to it. So as soon as it is no longer served, its files close, and their
    copies in the cache may be evicted.

    Parameters
    ----------
    files
        Its files, verified.
    """

    def __init__(self, files: VerifiedFiles) -> None:
        self._files = files
        self._once: Once[Any] = Once()
        self._rows = Rows(files)
        self._row = lru_cache(_ROWS)(self._rows.read)

    @property
    def release_id(self) -> str:
        """Its id."""
        return self._files.release_id

    @property
    def key(self) -> tuple[str, str]:
        """Its id and its manifest's SHA-256, as `nightjar_reader.format.LedgerRelease.key`."""
        return self._files.release_id, self._files.manifest_sha256

    @property
    def manifest(self) -> fmt.Manifest:
        """What it contains."""
        return self._files.manifest

    def verify(self, first: str = "") -> None:
        """Verify every file now, the one at the address `first` before the others.

        Raises
        ------
        ReleaseCorrupt
            Names the first bad one.
        """
        self._files.verify_all(first)

    # Ids

    @once
    def id_type(self) -> fmt.IdType:
        """``int64`` or ``string``, for users and items alike."""
        with self._files.as_format_says(fmt.POPULAR):
            column: pa.DataType = self._popular.schema.field(fmt.ITEM_IDS).type
            return "int64" if pa.types.is_int64(column.value_type) else "string"

    def checked_id(self, id: Id) -> Id:
        """The id in the data set's type; a text that is a whole number serves as one.

        Raises
        ------
        BadId
            When no id of this data set can be like that.
        """
        if isinstance(id, bool) or not isinstance(id, int | str | np.integer):
            raise BadId(f"expected an id, an int or a str; found {_shown(id)}")
        if (text := _text_of(id)) is None:
            raise BadId(f"expected an id whose text UTF-8 can hold; found {_shown(id)}")
        if self.id_type == "string":
            return text
        if not _WHOLE.fullmatch(text) or int(text) not in _INT64:
            raise BadId(f"ids of this data set are whole numbers of 64 bits; found {_shown(id)}")
        return int(text)

    # Lists

    def for_user(self, user_id: Id) -> Recommendations:
        """The user's list; popular items for a user that the release does not know."""
        row = self._user(user_id := self.checked_id(user_id))
        if row is None:
            best = self.popular()
            return Recommendations(user_id, best.items, best.scores, fmt.FALLBACK_GLOBAL, self.release_id)
        return Recommendations(user_id, row.items, row.scores, row.fallback, self.release_id)

    def _user(self, user_id: Id) -> Row | None:
        return self._row(fmt.lists_path(fmt.bucket(user_id, self.manifest.buckets)), user_id)

    def users(self) -> Iterator[Id]:
        """Every user with a list, bucket by bucket."""
        for bucket in range(self.manifest.buckets):
            file = fmt.lists_path(bucket)
            for group in range(self._rows.ask(file, lambda keyed: keyed.groups)):
                yield from self._rows.ask(file, partial(KeyedFile.keys, group=group))

    def opened_users(self) -> Iterator[Id]:
        """As `users`, with all files verified before the first user comes."""
        for bucket in range(self.manifest.buckets):
            self._rows.ask(fmt.lists_path(bucket), lambda keyed: keyed.groups)
        return self.users()

    def similar_items(self, item_id: Id) -> SimilarItems:
        """The items most like this one; popular items where the release has no such list."""
        item_id = self.checked_id(item_id)
        file = fmt.similar_path(fmt.bucket(item_id, self.manifest.buckets))
        row = self._row(file, item_id)
        if row is None:
            best = self.popular()
            return SimilarItems(item_id, best.items, best.scores, fmt.FALLBACK_GLOBAL, self.release_id)
        return SimilarItems(item_id, row.items, row.scores, row.fallback, self.release_id)

    @once
    def _popular(self) -> pa.Table:
        return self._files.table(fmt.POPULAR, fmt.POPULAR_COLUMNS)

    @once
    def _segments(self) -> dict[str | None, Row]:
        with self._files.as_format_says(fmt.POPULAR):
            segments = {row[fmt.SEGMENT]: Row.of(row) for row in self._popular.to_pylist()}
            if None not in segments:
                raise LookupError("no row whose segment is null")
            return segments

    def popular(self, segment: str | None = None) -> Popular:
        """The popular items of a segment, or of all users where there is no such segment."""
        if segment not in self._segments:
            segment = None
        row = self._segments[segment]
        return Popular(segment, row.items, row.scores, self.release_id)

    # Catalogue

    @once
    def _items(self) -> pa.Table:
        return self._files.table(fmt.ITEMS, fmt.ITEMS_COLUMNS)

    def _item(self, item_id: Id) -> dict[str, Any] | None:
        place = position(self._items[fmt.ITEM_ID], item_id)
        return None if place is None else self._items.slice(place, 1).to_pylist()[0]

    def catalogue(self, item_ids: Iterable[Id]) -> dict[Id, CatalogueItem]:
        """What the catalogue says of these items; unknown ones are left out."""
        rows = (self._item(self.checked_id(item_id)) for item_id in item_ids)
        return {
            row[fmt.ITEM_ID]: CatalogueItem(row[fmt.ITEM_ID], row[fmt.NAME], row[fmt.CATEGORY])
            for row in rows
            if row is not None
        }

    # Factors

    @once
    def _item_factors(self) -> Floats:
        return self._files.array(fmt.ITEM_FACTORS)

    @once
    def _user_factors(self) -> Floats:
        return self._files.array(fmt.USER_FACTORS)

    @once
    def _unit_factors(self) -> Floats:
        return unit_rows(self._item_factors)

    @once
    def _by_product(self) -> ExactSearch:
        with self._files.as_format_says(fmt.ITEM_FACTORS):
            return ExactSearch(self._item_factors)

    @once
    def _by_cosine(self) -> ExactSearch:
        with self._files.as_format_says(fmt.ITEM_FACTORS):
            return ExactSearch(self._unit_factors)

    @once
    def _ids_by_code(self) -> pa.Array:
        return self._items[fmt.ITEM_ID].filter(self._items[fmt.CODE].is_valid())

    def nearest_to_user(self, user_id: Id, n: int) -> Neighbours:
        """The items of the largest inner products with the user's factors; exact."""
        row = self._user(user_id := self.checked_id(user_id))
        code = self._code(row.code if row else None, f"user {user_id!r}")
        with self._files.as_format_says(fmt.USER_FACTORS):
            query = self._user_factors[code]
        return self._neighbours(*self._by_product.nearest(query, n), exact=True)

    def nearest_to_item(self, item_id: Id, n: int) -> Neighbours:
        """The items of the largest cosines with this one, itself left out; by the index if there is one."""
        refuse_negative(n)
        row = self._item(item_id := self.checked_id(item_id))
        code = self._code(row[fmt.CODE] if row else None, f"item {item_id!r}")
        n = min(n, len(self._item_factors))  # the index takes numbers of 32 bits only
        if self._annoy is None:
            codes, scores = self._by_cosine.nearest(self._unit_factors[code], n + 1)
        else:
            codes, scores = self._by_index(code, n + 1)
        is_neighbour = codes != code
        return self._neighbours(codes[is_neighbour][:n], scores[is_neighbour][:n], exact=self._annoy is None)

    def _code(self, code: int | None, what: str) -> int:
        for file in (fmt.USER_FACTORS, fmt.ITEM_FACTORS):
            self._files.local(file)  # raises if the release has no such file
        if code is None:
            raise NotInThisRelease(f"release {self.release_id} has no factors of {what}")
        return code

    def _neighbours(self, codes: Codes, scores: Floats, *, exact: bool) -> Neighbours:
        with self._files.as_format_says(fmt.ITEMS):
            items = self._ids_by_code.take(pa.array(codes)).to_pylist()
        return Neighbours(tuple(items), tuple(scores.tolist()), exact, self.release_id)

    @once
    def _annoy(self) -> Any | None:
        if not self._files.has(fmt.INDEX):
            return None
        try:
            from annoy import AnnoyIndex
        except ImportError:
            return None
        factors = self._item_factors.shape[1]

        def load(path: Path) -> Any:
            index = AnnoyIndex(factors, "angular")
            index.load(str(path))
            return index

        return self._files.loaded(fmt.INDEX, load)

    def _by_index(self, code: int, n: int) -> tuple[Codes, Floats]:
        assert self._annoy is not None
        assert self.manifest.index is not None
        effort = max(self.manifest.index.search_k, n * self.manifest.index.trees)
        codes = np.array(self._annoy.get_nns_by_item(code, n, effort), np.int32)
        return ranked(codes, exact_scores(self._unit_factors[codes], self._unit_factors[code]), n)


def _text_of(id: Id) -> str | None:
    """The id's text; None if it has half of a surrogate pair, or more digits than Python writes."""
    try:
        text = str(id)
        text.encode()
    except ValueError:
        return None
    return text


def _shown(id: object) -> str:
    try:
        return shown(id)
    except ValueError:
        return f"an {type(id).__name__} of too many digits"
