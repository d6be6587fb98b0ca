"""The arguments of `top_n`, checked: an error says what was expected and what was found."""

import operator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from topn.arrays import Float32, Float64, Mask, blocks, fixed
from topn.exclusions import USERS_AT_ONCE, Exclusions
from topn.vectors import norms

LARGEST = 3e38  # scores above it would not be float32
MOST_FACTORS = 8192  # up to so many, `solver.SPARE` covers what the bound of the error leaves out


@dataclass(frozen=True)
class Problem:
    """The arguments, checked.

    Attributes
    ----------
    users, items
        float32 [users, f] and [items, f].
    n
        How many items a list has at most; no more than there are items.
    exclusions
        What these users do not get.
    allowed
        bool [items].
    norms
        float64 [items], Euclidean.
    """

    users: Float32
    items: Float32
    n: int
    exclusions: Exclusions
    allowed: Mask
    norms: Float64


def checked(
    users: Float32, items: Float32, n: int, exclude: csr_matrix | None, allowed: Mask | None
) -> Problem:
    """Check the arguments of `top_n`; raises ValueError if one is wrong."""
    users, items = _checked_factors(users, items)
    if n < 1:
        raise ValueError(f"n is {n}: expected at least 1")
    mask = _checked_mask(allowed, len(items))
    exclusions = _checked_exclusions(exclude, len(users), len(items))
    lengths = _checked_norms(users, items, mask)
    return Problem(users, items, min(operator.index(n), max(1, len(items))), exclusions, mask, lengths)


def _checked_factors(users: Float32, items: Float32) -> tuple[Float32, Float32]:
    """Both arrays, float32 and of the same width."""
    for name, factors in (("user_factors", users), ("item_factors", items)):
        if not isinstance(factors, np.ndarray) or factors.ndim != 2 or factors.dtype != np.float32:
            raise ValueError(f"{name}: expected a float32 array [rows, factors], found {_shape(factors)}")
    if users.shape[1] != items.shape[1] or not 0 < users.shape[1] <= MOST_FACTORS:
        shapes = f"user_factors {users.shape}, item_factors {items.shape}"
        raise ValueError(f"factors do not fit: {shapes}; expected as many columns, 1 to {MOST_FACTORS}")
    return fixed(users), fixed(items)


def _shape(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _checked_mask(allowed: Mask | None, items: int) -> Mask:
    """One bool an item; all true for None."""
    if allowed is None:
        return fixed(np.ones(items, bool))
    if not isinstance(allowed, np.ndarray) or allowed.shape != (items,) or allowed.dtype != np.bool_:
        raise ValueError(f"allowed: expected bool [{items}], found {_shape(allowed)}")
    return fixed(allowed)


def _checked_exclusions(exclude: csr_matrix | None, users: int, items: int) -> Exclusions:
    """The rows of a CSR matrix, which SciPy itself does not check; no exclusions for None."""
    if exclude is None:
        return Exclusions(np.broadcast_to(np.int64(0), users + 1), np.empty(0, np.int32))
    kind = getattr(exclude, "format", type(exclude).__name__)
    if kind != "csr" or exclude.shape != (users, items):
        raise ValueError(f"exclude: expected CSR {(users, items)}, found {kind} {np.shape(exclude)}")
    exclusions = Exclusions(exclude.indptr, exclude.indices)
    if not _rises(exclusions, users):
        raise ValueError(f"exclude: expected an indptr [{users + 1}] that rises from 0 to len(indices)")
    codes = exclusions.indices[: exclusions.indptr[-1]]
    if len(codes) and (codes.min() < 0 or codes.max() >= items):
        raise ValueError(f"exclude: expected item codes 0..{items - 1}, found {codes.min()}..{codes.max()}")
    return exclusions


def _rises(exclusions: Exclusions, users: int) -> bool:
    """Whether the users' rows follow one another, and lie inside `indices`."""
    indptr, indices = exclusions.indptr, exclusions.indices
    return bool(
        len(indptr) == users + 1 and indptr[0] == 0 and exclusions.least() >= 0 and indptr[-1] <= len(indices)
    )


def _checked_norms(users: Float32, items: Float32, allowed: Mask) -> Float64:
    """The norms of all items; raises ValueError if a score might not be finite."""
    of_items = norms(items)
    _refuse_infinite(of_items, "item_factors", 0)
    longest = of_items[allowed].max(initial=0)
    for block in blocks(len(users), USERS_AT_ONCE):
        of_users = norms(users[block])
        _refuse_infinite(of_users, "user_factors", block.start)
        if of_users.max() * longest > LARGEST:
            raise ValueError("factors are too large: their dot products would overflow float32")
    return of_items


def _refuse_infinite(lengths: Float64, name: str, first: int) -> None:
    """Refuse rows without a finite length; `first` is the number of the first row."""
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise ValueError(f"{name}: row {first + bad[0]} (of {len(bad)} such) holds NaN or infinity")
