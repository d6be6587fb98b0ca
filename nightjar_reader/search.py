"""Exact search for the largest inner products, in plain numpy.

Items are scanned by falling norm. By Cauchy-Schwarz the scan ends where no item that is left can
enter the result, which is early for factors of skewed norms. Float32 selects with a margin for its
own error; the survivors are scored again, so that the result does not depend on BLAS.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]

_TILE = 2048


def unit_rows(factors: Floats) -> Floats:
    """The rows at length 1 (zero rows stay zero); their inner products are cosines."""
    norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
    return (factors / np.where(norms > 0, norms, 1)[:, None]).astype(np.float32)


def exact_scores(factors: Floats, query: Floats) -> Floats:
    """Inner products in float64, summed in index order, rounded to float32.

    Parameters
    ----------
    factors
        float32 ``[n, f]``.
    query
        float32 ``[f]``.
    """
    total = np.zeros(len(factors), np.float64)
    for column, weight in zip(factors.T, query.astype(np.float64), strict=True):
        total += column.astype(np.float64) * weight
    return total.astype(np.float32)


def ranked(codes: Codes, scores: Floats, n: int) -> tuple[Codes, Floats]:
    """The n best: score descending, then code ascending."""
    best = np.lexsort((codes, -scores))[:n]
    return codes[best], scores[best]


class ExactSearch:
    """The items of one release, ready for queries.

    Parameters
    ----------
    factors
        float32 ``[n_items, f]``; row = code.
    """

    def __init__(self, factors: Floats) -> None:
        norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
        self._codes = np.argsort(-norms, kind="stable").astype(np.int32)
        self._norms = norms[self._codes]
        self._factors = np.ascontiguousarray(factors[self._codes])

    def nearest(self, query: Floats, n: int) -> tuple[Codes, Floats]:
        """The codes and scores of the n largest inner products, ties by code.

        Parameters
        ----------
        query
            float32 ``[f]``.
        n
            At most so many; fewer where there are fewer items.
        """
        rows = self._survivors(query, min(n, len(self._codes)))
        return ranked(self._codes[rows], exact_scores(self._factors[rows], query), n)

    def _survivors(self, query: Floats, n: int) -> npt.NDArray[np.intp]:
        rows, scores = np.empty(0, np.intp), np.empty(0, np.float32)
        if n < 1:
            return rows
        length, margin, floor = self._bounds(query)
        for start in range(0, len(self._codes), _TILE):
            if length * self._norms[start] < floor:
                break
            tile = self._factors[start : start + _TILE] @ query
            entering = np.flatnonzero(tile >= floor)
            rows, scores = np.append(rows, start + entering), np.append(scores, tile[entering])
            if len(rows) >= n:
                floor = float(np.partition(scores, -n)[-n]) - margin
                rows, scores = rows[scores >= floor], scores[scores >= floor]
        return rows

    def _bounds(self, query: Floats) -> tuple[float, float, float]:
        length = float(np.sqrt(np.dot(query.astype(np.float64), query.astype(np.float64))))
        margin = 2 * (len(query) + 2) * 2.0**-23 * length * float(self._norms[0])
        return length, margin, -np.inf
