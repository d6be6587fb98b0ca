"""What users did in the days after an as-of day: the labels of training and the truth of evaluation."""

import datetime as dt
import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import tables
from lake.dataset import Dataset
from lake.lake import Lake
from lake.names import TableName
from lake.partitions import end_of
from lake.records import Record
from lake.schemas import EVENT_TS, EVENT_TYPE, ITEM, USER
from recommender.arrays import Bool, Int32, Int64
from recommender.asof import AsOf


@dataclass(frozen=True)
class Truth:
    """Distinct pairs of a label window, by the codes of one as-of day.

    Attributes
    ----------
    users, items
        int32 [pairs], sorted by user, then item; items that the day does not know are -1.
    counts
        int32 [users of the day]: true items of each, unknown ones included.
    """

    users: Int32
    items: Int32
    counts: Int32

    def holds(self, users: Int32, items: Int32) -> Bool:
        """Whether each pair of codes is a true one; the arrays broadcast."""
        if not users.size:
            return np.zeros(np.broadcast_shapes(users.shape, items.shape), bool)
        # Only those of the users asked for, since a block of users is few of all.
        first, last = np.searchsorted(self.users, [users.min(), users.max() + 1])
        is_true = np.isin(_keys(users, items), _keys(self.users[first:last], self.items[first:last]))
        return np.asarray(is_true & (items >= 0))


def _keys(users: Int32, items: Int32) -> Int64:
    return (users.astype(np.int64) << 32) + items


def read(lake: Lake, features: Record, first: dt.date, data: Dataset) -> pa.Table:
    """The label events stamped after `first`, from the interactions that a feature record pins.

    Parameters
    ----------
    features
        The feature record of D: only rows with ``landed <= D`` are among its pins.
    first
        The earliest as-of day that needs labels.

    Returns
    -------
    pa.Table
        `user_id`, `item_id` and `event_ts` of the rows whose type is in ``events.labels``.
    """
    pins = [pin for pin in features.inputs_of(TableName.INTERACTIONS) if pin.day > first]
    files = [file for pin in pins for file in tables.pinned(lake.records, pin).files]
    rows = tables.read(
        lake.storage, TableName.INTERACTIONS, data.id_type, files, [USER, ITEM, EVENT_TS, EVENT_TYPE]
    )
    are_labels = pc.is_in(rows[EVENT_TYPE], pa.array(data.events.labels, pa.string()))
    return rows.filter(are_labels).select([USER, ITEM, EVENT_TS])


def distinct(events: pa.Table, as_of: dt.date, last: dt.date, data: Dataset) -> pa.Table:
    """The distinct pairs of the ``label_days`` days after an as-of day.

    Parameters
    ----------
    events
        What `read` gave.
    last
        The last day whose labels may be seen, if the window ends later.

    Returns
    -------
    pa.Table
        `user_id` and `item_id`, in their order.
    """
    end = min(as_of + data.training.label_window, last)
    stamps = events[EVENT_TS]
    begins, ends = (pa.scalar(end_of(day, data.zone), stamps.type) for day in (as_of, end))
    inside = pc.and_(pc.greater_equal(stamps, begins), pc.less(stamps, ends))
    pairs = events.filter(inside).group_by([USER, ITEM]).aggregate([])
    return pairs.sort_by([(USER, "ascending"), (ITEM, "ascending")])


def digest(pairs: pa.Table) -> str:
    """SHA-256 (hex) of `distinct` pairs, as Arrow writes them as one batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pairs.schema) as stream:
        stream.write_table(pairs.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()


def truth(pairs: pa.Table, as_of: AsOf, data: Dataset) -> Truth:
    """Distinct pairs by the codes of an as-of day.

    Parameters
    ----------
    pairs
        What `distinct` gave.
    as_of
        Users that it does not know have no labels.

    Returns
    -------
    Truth
        Where repeats are not recommended, without the pairs that the day has already.
    """
    users, items = as_of.small.users.codes(pairs[USER]), as_of.small.items.codes(pairs[ITEM])
    order = np.lexsort((items, users))
    users, items = users[order], items[order]
    known = users >= 0
    if not data.repeats:
        known &= ~as_of.holds(users, items)
    users, items = users[known], items[known]
    counts = np.bincount(users, minlength=len(as_of.small.users)).astype(np.int32)
    return Truth(users, items, counts)
