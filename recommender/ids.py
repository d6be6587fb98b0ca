"""Ids and their dense codes: positions among the sorted distinct ids seen as of a day."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.arrays import Int32


@dataclass(frozen=True, eq=False)
class Ids:
    """Sorted distinct ids; the code of an id is its position.

    Codes ascend with ids (integers by value, strings by UTF-8 bytes), so that an order by code
    is an order by id.

    Attributes
    ----------
    values
        Sorted, distinct, without nulls.
    """

    values: pa.Array

    @classmethod
    def of(cls, values: pa.Array | pa.ChunkedArray) -> "Ids":
        """The distinct ids among `values`; nulls are left out."""
        distinct = _flat(pc.unique(values)).drop_null()
        return cls(distinct.take(pc.sort_indices(distinct)))

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and bool(self.values.equals(other.values))

    def codes(self, ids: pa.Array | pa.ChunkedArray) -> Int32:
        """The code of each id.

        Returns
        -------
        int32 array
            -1 for an id that is not among them, and for null.
        """
        if not len(self):
            return np.full(len(ids), -1, np.int32)
        places = pc.index_in(ids.cast(self.values.type), value_set=self.values, skip_nulls=True)
        return np.asarray(_flat(places.fill_null(-1)), np.int32)

    def take(self, codes: Int32) -> pa.Array:
        """The ids of codes; a code of -1 raises `pyarrow.ArrowIndexError`."""
        return self.values.take(pa.array(codes, pa.int32()))


def _flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
