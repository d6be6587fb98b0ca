"""Exact search for the largest inner products, in plain numpy.

Items are scanned by falling norm. By Cauchy-Schwarz the scan may end when no item that is left can
enter the result; where norms differ much, that is early. Float32 selects, with a margin for its own
error. The survivors are scored again, so that the result does not depend on BLAS.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]

_CHUNK = 4096  # rows that are scored exactly at a time, to bound the memory
_LARGEST = 3e38  # scores above it would not be float32
_MOST_FACTORS = 8192  # up to which the bound of the error holds
_TILE = 2048  # items of the first step; each takes twice as many, as a step costs some thousand products
_SPARE = 8  # roundings beside the f of a product: exact score, margin, floor, and of second order
_ROUNDING = 1 + 1e-6  # of lengths
_UNIT = 2.0**-24  # the relative error of one float32 operation
_TINY = 2.0**-120  # above what underflow can take from a product of float32 values


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
    scores, weights = np.empty(len(factors), np.float32), query.astype(np.float64)
    for at in range(0, len(factors), _CHUNK):
        products = factors[at : at + _CHUNK].astype(np.float64) * weights
        scores[at : at + _CHUNK] = np.cumsum(products, axis=1)[:, -1]
    return scores + np.float32(0)


def ranked(codes: Codes, scores: Floats, n: int) -> tuple[Codes, Floats]:
    """The n best: score descending, then code ascending."""
    best = np.lexsort((codes, -scores))[:n]
    return codes[best], scores[best]


def refuse_negative(n: int) -> None:
    """Raise ValueError if `n` is negative."""
    if n < 0:
        raise ValueError(f"n is {n}: expected at least 0")


class ExactSearch:
    """The items of one release, ready for queries.

    Parameters
    ----------
    factors
        float32 ``[n_items, f]``, finite; row = code.

    Raises
    ------
    ValueError
        When a factor is not finite, or an item has none or too many.
    """

    def __init__(self, factors: Floats) -> None:
        if not 0 < factors.shape[1] <= _MOST_FACTORS:
            raise ValueError(f"factors {factors.shape}: expected 1 to {_MOST_FACTORS} columns")
        norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
        if not np.isfinite(norms).all():
            raise ValueError(f"factors: row {np.argmin(np.isfinite(norms))} holds NaN or infinity")
        self._codes = np.argsort(-norms, kind="stable").astype(np.int32)
        self._norms = norms[self._codes]
        self._longest = float(norms.max(initial=0))
        self._factors = np.ascontiguousarray(factors[self._codes])

    def nearest(self, query: Floats, n: int) -> tuple[Codes, Floats]:
        """The codes and scores of the n largest inner products, ties by code.

        Parameters
        ----------
        query
            float32 ``[f]``.
        n
            At most so many; fewer where there are fewer items.

        Raises
        ------
        ValueError
            When `n` is negative, or a score would not be finite.
        """
        refuse_negative(n)
        length = float(np.sqrt(np.square(query.astype(np.float64)).sum()))
        if not length * self._longest <= _LARGEST:
            raise ValueError("query: expected finite factors whose inner products are finite in float32")
        rows = self._survivors(query, length, min(n, len(self._codes)))
        return ranked(self._codes[rows], exact_scores(self._factors[rows], query), n)

    def _survivors(self, query: Floats, length: float, n: int) -> npt.NDArray[np.intp]:
        """The places of all items that may be among the n best."""
        places = np.empty(0, np.intp)
        scores = np.empty(0, np.float32)
        slack = length * (len(query) + _SPARE) * _UNIT
        floor, start, size = -np.inf, 0, _TILE
        end = len(self._codes) if n else 0
        while start < end:
            stop = min(start + size, end)
            tile = self._factors[start:stop] @ query
            entering = np.flatnonzero(tile >= floor - slack * self._norms[start] - _TINY)
            places, scores = np.append(places, start + entering), np.append(scores, tile[entering])
            if len(places) >= n:
                margins = slack * self._norms[places] + _TINY
                floor = np.partition(scores - margins, -n)[-n]
                in_reach = scores + margins >= floor
                places, scores = places[in_reach], scores[in_reach]
                end = min(end, self._count_in_reach(length, floor))
            start, size = stop, 2 * size
        return places

    def _count_in_reach(self, length: float, floor: float) -> int:
        """How many items have norms that let them reach the floor."""
        if floor <= _TINY:
            return len(self._norms)
        least = (floor - _TINY) / (length * _ROUNDING)
        return len(self._norms) - int(np.searchsorted(self._norms[::-1], least))
