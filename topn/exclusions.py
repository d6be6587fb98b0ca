"""The items that a user does not get, and how long the lists are without them."""

from dataclasses import dataclass

import numpy as np

from topn.arrays import Array, Int32, Int64, Mask, blocks, fixed
from topn.jit import jit

USERS_AT_ONCE = 4096  # to bound the memory of a pass over all users


@dataclass(frozen=True)
class Exclusions:
    """The index arrays of a CSR matrix of users x items: what is stored is left out.

    Attributes
    ----------
    indptr
        int32 or int64 [users + 1].
    indices
        int32 or int64, item codes.
    """

    indptr: Array
    indices: Array

    def most(self) -> int:
        """The largest number of items that are left out for one user."""
        return max((int(counts.max()) for counts in self._counts()), default=0)

    def least(self) -> int:
        """The smallest number of items that are left out for one user; below 0 if `indptr` falls."""
        return min((int(counts.min()) for counts in self._counts()), default=0)

    def _counts(self) -> list[Array]:
        return [
            np.diff(self._bounds(block).astype(np.int64))
            for block in blocks(len(self.indptr) - 1, USERS_AT_ONCE)
        ]

    def rows(self, block: slice) -> tuple[Int64, Array]:
        """`indptr`, from 0, and `indices` of a block of users."""
        indptr = self._bounds(block).astype(np.int64)
        indices = self.indices[indptr[0] : indptr[-1]]
        return indptr - indptr[0], fixed(indices)

    def _bounds(self, block: slice) -> Array:
        return self.indptr[block.start : block.stop + 1]


def list_bounds(exclusions: Exclusions, allowed: Mask, n: int) -> Int64:
    """Where the users' lists begin and end, int64 [users + 1].

    A list has the items that are allowed and not excluded, `n` at most.
    """
    bounds = np.zeros(len(exclusions.indptr), np.int64)
    last_user = np.full(len(allowed), -1, np.int32)
    for block in blocks(len(bounds) - 1, USERS_AT_ONCE):
        lengths = bounds[block.start + 1 : block.stop + 1]
        list_lengths(*exclusions.rows(block), block.start, allowed, last_user, n, lengths)
    return np.cumsum(bounds, out=bounds)


@jit
def list_lengths(
    indptr: Int64, indices: Int32, first_user: int, allowed: Mask, last_user: Int32, n: int, out: Int64
) -> None:
    """Count the items of each user's list.

    Parameters
    ----------
    first_user
        The number of the first of these users.
    last_user
        int32 [items]: the last user who excludes the item, -1 for none yet. So an item that a user
        excludes twice counts once.
    out
        int64 [users], for the lengths.
    """
    count = allowed.sum()
    for row in range(len(out)):
        length = count
        for at in range(indptr[row], indptr[row + 1]):
            item = indices[at]
            length -= allowed[item] and last_user[item] != first_user + row
            last_user[item] = first_user + row
        out[row] = min(n, length)
