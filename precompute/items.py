"""The items of a release, and the factors that it ships."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lake.errors import PermanentError
from lake.schemas import CATEGORY, ITEM, NAME
from nightjar_reader import format as fmt
from recommender.arrays import Float32
from recommender.ids import Ids
from recommender.retrieval import Retrieval, known
from recommender.view import View


@dataclass(frozen=True)
class Factors:
    """What `user_factors.npy` and `item_factors.npy` hold.

    Attributes
    ----------
    users, items
        float32 ``[n, f]``, without rows of zeros; items in order of their ids.
    item_ids
        The id of each row of `items`.
    """

    users: Float32
    items: Float32
    item_ids: Ids


def factors(view: View, retrieval: Retrieval | None) -> Factors | None:
    """The factors of the view's users and of the catalogue's items that a retrieval knows.

    Parameters
    ----------
    view
        Of all users.
    retrieval
        By the view's codes.

    Returns
    -------
    Factors or None
        None without a retrieval, or where it knows none of the items.
    """
    if retrieval is None:
        return None
    items = np.flatnonzero(view.listed & known(retrieval.item_factors)).astype(np.int32)
    if not len(items):
        return None
    users = known(retrieval.user_factors)
    return Factors(
        np.ascontiguousarray(retrieval.user_factors[users], np.float32),
        np.ascontiguousarray(retrieval.item_factors[items], np.float32),
        Ids(view.items.take(items)),
    )


def lacking(shipped: Factors | None, view: View) -> tuple[str, ...]:
    """Warnings of a bundle that has factors of no item, or of no user, of the view."""
    users, items = len(view.users), int(view.listed.sum())
    if shipped is None:
        return (
            f"the bundle has factors of none of {items} items: this release has no factors, no index and no "
            "item-to-item lists; see what its training warned of",
        )
    if users and not len(shipped.users):
        return (f"the bundle has factors of none of {users} users: no list is by them",)
    return ()


def table(view: View, catalogue: pa.Table | None, shipped: Factors | None, id_type: fmt.IdType) -> pa.Table:
    """Every item that a list may contain, sorted by id, with its row in the factors or null.

    Parameters
    ----------
    catalogue
        The catalogue as of its day; None without one: then the rows are the items seen.

    Raises
    ------
    PermanentError
        When the catalogue has an item twice.
    """
    ids, names = _named(view, catalogue)
    codes = np.full(len(ids), -1, np.int32) if shipped is None else shipped.item_ids.codes(ids.values)
    parts = {
        fmt.ITEM_ID: ids.values,
        fmt.CODE: pa.array(codes, pa.int32(), mask=codes < 0),
        fmt.NAME: names[NAME],
        fmt.CATEGORY: names[CATEGORY],
    }
    return pa.table(parts, schema=fmt.items_schema(id_type))


def _named(view: View, catalogue: pa.Table | None) -> tuple[Ids, pa.Table]:
    if catalogue is None:
        nothing = pa.nulls(len(view.items), pa.string())
        return view.items, pa.table({NAME: nothing, CATEGORY: nothing})
    ordered = catalogue.sort_by(ITEM)
    ids = Ids.of(ordered[ITEM])
    if len(ids) != len(ordered):
        raise PermanentError(
            f"catalogue as of {view.day}: {len(ordered) - len(ids)} of {len(ordered)} rows have no id or "
            "one that another row has; deliver it again and ingest that day again"
        )
    return ids, ordered
