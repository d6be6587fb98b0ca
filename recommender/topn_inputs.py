"""What `recommender.topn` takes: refused with a message where it is not as it must be."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.jit import jit
from recommender.vectors import I32, I64, Mask, norms

Floats = npt.NDArray[np.float32]

LARGEST = 3e38  # scores above it would not be float32
MOST_FACTORS = 8192  # up to which SPARE covers what the bound of the error leaves out
CHECKED_USERS = 4096


@dataclass(frozen=True)
class Exclusions:
    """Which items are left out for whom: the index arrays of a CSR matrix of users x items."""

    indptr: npt.NDArray[Any]
    indices: npt.NDArray[Any]

    def most(self) -> int:
        """How many items at most are left out for one user."""
        return max((int(counts.max()) for counts in self._counts()), default=0)

    def least(self) -> int:
        """How many items at least; below 0 where the rows do not follow each other."""
        return min((int(counts.min()) for counts in self._counts()), default=0)

    def _counts(self) -> list[npt.NDArray[Any]]:
        return [
            np.diff(self.bounds(block).astype(np.int64))
            for block in blocks(len(self.indptr) - 1, CHECKED_USERS)
        ]

    def rows(self, block: slice) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Those of some users, with an indptr from 0."""
        indptr = self.bounds(block).astype(np.int64)
        indices = self.indices[indptr[0] : indptr[-1]]
        return indptr - indptr[0], fixed(indices)

    def bounds(self, block: slice) -> npt.NDArray[Any]:
        """Where the rows of some users lie."""
        return self.indptr[block.start : block.stop + 1]


def blocks(count: int, size: int, start: int = 0) -> list[slice]:
    """Slices of at most `size` from `start` to `count`."""
    return [slice(at, min(at + size, count)) for at in range(start, count, size)]


def fixed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only array with its rows one after the other: one type for numba, whoever made it."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def checked_factors(users: Floats, items: Floats) -> tuple[Floats, Floats]:
    """Both, of one width."""
    for name, factors in (("user_factors", users), ("item_factors", items)):
        if not isinstance(factors, np.ndarray) or factors.ndim != 2 or factors.dtype != np.float32:
            raise ValueError(f"{name}: expected a float32 array [rows, factors], found {_shape(factors)}")
    if users.shape[1] != items.shape[1] or not 0 < users.shape[1] <= MOST_FACTORS:
        found = f"user_factors {users.shape}, item_factors {items.shape}"
        raise ValueError(f"factors do not fit: {found}; expected as many columns, 1 to {MOST_FACTORS}")
    return fixed(users), fixed(items)


def _shape(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def checked_mask(allowed: Mask | None, items: int) -> Mask:
    """One bool an item; all true for None."""
    if allowed is None:
        return fixed(np.ones(items, bool))
    if not isinstance(allowed, np.ndarray) or allowed.shape != (items,) or allowed.dtype != np.bool_:
        raise ValueError(f"allowed: expected bool [{items}], found {_shape(allowed)}")
    return fixed(allowed)


def checked_exclusions(exclude: csr_matrix | None, users: int, items: int) -> Exclusions:
    """The rows of a CSR matrix, which SciPy does not check itself; none for None."""
    if exclude is None:
        return Exclusions(np.broadcast_to(np.int64(0), users + 1), np.empty(0, np.int32))
    kind = getattr(exclude, "format", type(exclude).__name__)
    if kind != "csr" or exclude.shape != (users, items):
        raise ValueError(f"exclude: expected CSR {(users, items)}, found {kind} {np.shape(exclude)}")
    found = Exclusions(exclude.indptr, exclude.indices)
    if (
        len(found.indptr) != users + 1
        or found.indptr[0] != 0
        or found.least() < 0
        or found.indptr[-1] > len(found.indices)
    ):
        raise ValueError(f"exclude: expected an indptr [{users + 1}] that rises from 0 to len(indices)")
    codes = found.indices[: found.indptr[-1]]
    if len(codes) and (codes.min() < 0 or codes.max() >= items):
        raise ValueError(f"exclude: expected item codes 0..{items - 1}, found {codes.min()}..{codes.max()}")
    return found


@jit
def list_lengths(
    indptr: I64, indices: I32, first_user: int, allowed: Mask, last_user: I32, n: int, out: I64
) -> None:
    """How many items each user's list has.

    Parameters
    ----------
    last_user
        Of each item, which user of those before excludes it, so that none counts twice.
    """
    count = allowed.sum()
    for row in range(len(out)):
        left = count
        for at in range(indptr[row], indptr[row + 1]):
            item = indices[at]
            left -= allowed[item] and last_user[item] != first_user + row
            last_user[item] = first_user + row
        out[row] = min(n, left)


def checked_norms(users: Floats, items: Floats, allowed: Mask) -> npt.NDArray[np.float64]:
    """Those of all items, where all scores would be finite."""
    of_items = norms(items)
    refuse_infinite(of_items, "item_factors", 0)
    longest = of_items[allowed].max(initial=0)
    for block in blocks(len(users), CHECKED_USERS):
        of_users = norms(users[block])
        refuse_infinite(of_users, "user_factors", block.start)
        if of_users.max() * longest > LARGEST:
            raise ValueError("factors are too large: their dot products would overflow float32")
    return of_items


def refuse_infinite(lengths: npt.NDArray[np.float64], name: str, first: int) -> None:
    """Refuse rows that have no length; `first` is the number of the first one."""
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise ValueError(f"{name}: row {first + bad[0]} (of {len(bad)} such) holds NaN or infinity")
