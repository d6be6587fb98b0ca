"""Item-to-item lists: for each item with factors, the other items of the largest cosine."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from nightjar_reader import format as fmt
from recommender import columns
from recommender.arrays import Float32, Int64
from recommender.ids import Ids
from topn import TopN, top_n


def unit_rows(factors: Float32) -> Float32:
    """Rows at length 1; their inner products are cosines."""
    norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
    units: Float32 = (factors / norms[:, None]).astype(np.float32)
    return units


def neighbours(
    units: Float32, n: int, *, of: Int64 | None = None, memory_mib: int = 64, threads: int = 1
) -> TopN:
    """The `n` other items of the largest cosine, for each item.

    Parameters
    ----------
    units
        float32 ``[items, f]``, rows of length 1.
    of
        Codes of the items to find neighbours of; None for all.
    """
    codes = np.arange(len(units)) if of is None else of
    itself = csr_matrix(
        (np.ones(len(codes), np.int8), codes.astype(np.int32), np.arange(len(codes) + 1)),
        shape=(len(codes), len(units)),
    )
    return top_n(units[codes], units, n, exclude=itself, memory_mib=memory_mib, threads=threads)


def write(folder: Path, items: Ids, nearest: TopN, buckets: int, id_type: fmt.IdType) -> None:
    """Write every bucket's file, sorted by item id."""
    bucket = columns.buckets(items.values, buckets)
    for number in range(buckets):
        rows = np.flatnonzero(bucket == number)
        columns.write(_table(items, nearest, rows, id_type), folder / fmt.similar_path(number), fmt.ITEM_ID)


def _table(items: Ids, nearest: TopN, rows: Int64, id_type: fmt.IdType) -> pa.Table:
    schema = fmt.similar_schema(id_type)
    offsets, places = columns.gather(nearest.indptr, rows)
    ids, scores = items.take(nearest.items[places]), pa.array(nearest.scores[places])
    parts = {
        fmt.ITEM_ID: items.take(rows.astype(np.int32)),
        fmt.ITEM_IDS: columns.as_lists(offsets, ids, schema.field(fmt.ITEM_IDS).type),
        fmt.SCORES: columns.as_lists(offsets, scores, schema.field(fmt.SCORES).type),
    }
    return pa.table(parts, schema=schema)
