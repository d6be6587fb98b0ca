"""A retrieval as files: those that a bundle holds, and that the lake keeps for later nights."""

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recommender.ids import Ids
from recommender.retrieval import Retrieval

ARRAYS: Final = (
    "user_factors",
    "item_factors",
    "popularity",
    "similarity_indptr",
    "similarity_indices",
    "similarity_data",
)
IDS: Final = ("users", "items")
NAMES: Final = frozenset({*(f"{name}.npy" for name in ARRAYS), *(f"{name}.parquet" for name in IDS)})
"""The names of the files."""


def encode(retrieval: Retrieval) -> dict[str, bytes]:
    """The files by name; same content, same bytes."""
    near = retrieval.similarity
    arrays = {
        "user_factors": retrieval.user_factors,
        "item_factors": retrieval.item_factors,
        "popularity": retrieval.popularity,
        "similarity_indptr": near.indptr.astype(np.int64),
        "similarity_indices": near.indices.astype(np.int32),
        "similarity_data": near.data.astype(np.float32),
    }
    ids = {"users.parquet": _parquet(retrieval.users), "items.parquet": _parquet(retrieval.items)}
    return {f"{name}.npy": _npy(array) for name, array in arrays.items()} | ids


def decode(files: Mapping[str, bytes]) -> Retrieval:
    """The retrieval that was encoded; `files` may hold others too."""

    def array(name: str) -> NDArray[Any]:
        values: NDArray[Any] = np.load(io.BytesIO(files[f"{name}.npy"]), allow_pickle=False)
        return values

    tables = (pq.read_table(pa.BufferReader(files[f"{name}.parquet"]), use_threads=False) for name in IDS)
    users, items = (Ids(table["id"].combine_chunks()) for table in tables)
    near = [array(f"similarity_{part}") for part in ("data", "indices", "indptr")]
    return Retrieval(
        users=users,
        items=items,
        user_factors=array("user_factors"),
        item_factors=array("item_factors"),
        similarity=csr_matrix(tuple(near), shape=(len(items), len(items))),
        popularity=array("popularity"),
    )


def _npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array), allow_pickle=False)
    return out.getvalue()


def _parquet(ids: Ids) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": ids.values}), out, compression="zstd")
    return out.getvalue()
