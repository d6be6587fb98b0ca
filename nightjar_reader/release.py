"""One release, and the answers that its files give."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from nightjar_reader import format as fmt
from nightjar_reader.answers import CatalogueItem, Id, Neighbours, Popular, Recommendations, SimilarItems
from nightjar_reader.errors import BadId, NotInThisRelease
from nightjar_reader.keyed import KeyedFile, position
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

_OPEN_FILES = 128
_ROWS = 4096
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_INT64 = range(-(2**63), 2**63)


class Release:
    """A published release.

    Parameters
    ----------
    files
        Its files, verified.
    """

    def __init__(self, files: VerifiedFiles) -> None:
        self._files = files
        self._keyed = lru_cache(_OPEN_FILES)(self._open_keyed)
        self._row = lru_cache(_ROWS)(self._read_row)

    @property
    def release_id(self) -> str:
        """Its id."""
        return self._files.release_id

    @property
    def manifest(self) -> fmt.Manifest:
        """What it contains."""
        return self._files.manifest

    def verify(self) -> None:
        """Verify every file now, not when it is first opened; `ReleaseCorrupt` names the first bad one."""
        self._files.verify_all()

    def _open_keyed(self, file: str) -> KeyedFile:
        return KeyedFile(self._files.open(file))

    def _read_row(self, file: str, key: Id) -> dict[str, Any] | None:
        return self._keyed(file).row(key) if self._files.has(file) else None

    # Ids

    @cached_property
    def id_type(self) -> fmt.IdType:
        """``int64`` or ``string``, for users and items alike."""
        column: pa.DataType = self._popular.schema.field(fmt.ITEM_IDS).type
        return "int64" if pa.types.is_int64(column.value_type) else "string"

    def checked_id(self, id: Id) -> Id:
        """The id in the data set's type; a text that is a whole number serves as one.

        Raises
        ------
        BadId
            When no id of this data set can look like that.
        """
        if isinstance(id, bool) or not isinstance(id, int | str | np.integer):
            raise BadId(f"expected an id, an int or a str; found {id!r}")
        if self.id_type == "string":
            return str(id)
        if not _WHOLE.fullmatch(str(id)) or int(id) not in _INT64:
            raise BadId(f"ids of this data set are whole numbers of 64 bits; found {id!r}")
        return int(id)

    # Lists

    def for_user(self, user_id: Id) -> Recommendations:
        """The user's list; popular items for a user that the release does not know."""
        row = self._user(user_id := self.checked_id(user_id))
        if row is None:
            best = self.popular()
            return Recommendations(user_id, best.items, best.scores, fmt.FALLBACK_GLOBAL, self.release_id)
        return Recommendations(user_id, *_list_of(row), row[fmt.FALLBACK], self.release_id)

    def _user(self, user_id: Id) -> dict[str, Any] | None:
        return self._row(fmt.lists_path(fmt.bucket(user_id, self.manifest.buckets)), user_id)

    def users(self) -> Iterator[Id]:
        """Every user with a list, bucket by bucket."""
        for bucket in range(self.manifest.buckets):
            yield from self._keyed(fmt.lists_path(bucket)).keys()

    def similar_items(self, item_id: Id) -> SimilarItems:
        """The items most like this one; popular items where the release has no such list."""
        item_id = self.checked_id(item_id)
        file = fmt.similar_path(fmt.bucket(item_id, self.manifest.buckets))
        row = self._row(file, item_id) if self._files.has(file) else None
        if row is None:
            best = self.popular()
            return SimilarItems(item_id, best.items, best.scores, fmt.FALLBACK_GLOBAL, self.release_id)
        return SimilarItems(item_id, *_list_of(row), fmt.FALLBACK_PERSONAL, self.release_id)

    @cached_property
    def _popular(self) -> pa.Table:
        return self._files.table(fmt.POPULAR)

    @cached_property
    def _segments(self) -> dict[str | None, dict[str, Any]]:
        return {row[fmt.SEGMENT]: row for row in self._popular.to_pylist()}

    def popular(self, segment: str | None = None) -> Popular:
        """The popular items of a segment, or of all users where there is no such segment."""
        if segment not in self._segments:
            segment = None
        if segment not in self._segments:
            raise self._files.corrupt(fmt.POPULAR, "a row whose segment is null", "none")
        return Popular(segment, *_list_of(self._segments[segment]), self.release_id)

    # Catalogue

    @cached_property
    def _items(self) -> pa.Table:
        return self._files.table(fmt.ITEMS).combine_chunks()

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

    @cached_property
    def _item_factors(self) -> Floats:
        return self._files.array(fmt.ITEM_FACTORS)

    @cached_property
    def _user_factors(self) -> Floats:
        return self._files.array(fmt.USER_FACTORS)

    @cached_property
    def _unit_factors(self) -> Floats:
        return unit_rows(self._item_factors)

    @cached_property
    def _by_product(self) -> ExactSearch:
        return ExactSearch(self._item_factors)

    @cached_property
    def _by_cosine(self) -> ExactSearch:
        return ExactSearch(self._unit_factors)

    @cached_property
    def _ids_by_code(self) -> pa.Array:
        return self._items[fmt.ITEM_ID].filter(self._items[fmt.CODE].is_valid())

    def nearest_to_user(self, user_id: Id, n: int) -> Neighbours:
        """The items of the largest inner products with the user's factors; exact."""
        code = self._code(self._user(user_id := self.checked_id(user_id)), f"user {user_id!r}")
        return self._neighbours(*self._by_product.nearest(self._user_factors[code], n), exact=True)

    def nearest_to_item(self, item_id: Id, n: int) -> Neighbours:
        """The items of the largest cosines with this one, itself left out; by the index if there is one."""
        refuse_negative(n)
        code = self._code(self._item(item_id := self.checked_id(item_id)), f"item {item_id!r}")
        if self._annoy is None:
            codes, scores = self._by_cosine.nearest(self._unit_factors[code], n + 1)
        else:
            codes, scores = self._by_index(code, n + 1)
        other = codes != code
        return self._neighbours(codes[other][:n], scores[other][:n], exact=self._annoy is None)

    def _code(self, row: dict[str, Any] | None, what: str) -> int:
        for file in (fmt.USER_FACTORS, fmt.ITEM_FACTORS):
            self._files.local(file)
        if row is None or row[fmt.CODE] is None:
            raise NotInThisRelease(f"release {self.release_id} has no factors of {what}")
        return int(row[fmt.CODE])

    def _neighbours(self, codes: Codes, scores: Floats, *, exact: bool) -> Neighbours:
        items = self._ids_by_code.take(pa.array(codes)).to_pylist()
        return Neighbours(tuple(items), tuple(scores.tolist()), exact, self.release_id)

    @cached_property
    def _annoy(self) -> Any | None:
        if not self._files.has(fmt.INDEX):
            return None
        try:
            from annoy import AnnoyIndex
        except ImportError:
            return None
        index = AnnoyIndex(self._item_factors.shape[1], "angular")
        index.load(str(self._files.local(fmt.INDEX)))
        return index

    def _by_index(self, code: int, n: int) -> tuple[Codes, Floats]:
        assert self._annoy is not None
        assert self.manifest.index is not None
        effort = max(self.manifest.index.search_k, n * self.manifest.index.trees)
        codes = np.array(self._annoy.get_nns_by_item(code, n, effort), np.int32)
        return ranked(codes, exact_scores(self._unit_factors[codes], self._unit_factors[code]), n)


def _list_of(row: dict[str, Any]) -> tuple[tuple[Id, ...], tuple[float, ...]]:
    return tuple(row[fmt.ITEM_IDS]), tuple(row[fmt.SCORES])
