"""The bucket and the arm of an id, by the SHA-256 of its text: the same in every language."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from nightjar_reader_v1.manifest import BUCKETS


def bucket(id: int | str, buckets: int = BUCKETS) -> int:
    """Tell which file of ``lists/`` or ``similar/`` holds an id.

    Parameters
    ----------
    id
        An id of the data set; an integer counts as its decimal text.
    buckets
        How many there are, from the manifest.

    Returns
    -------
    int
        0 to ``buckets - 1``: the first 4 bytes, big-endian, of the SHA-256 of the id's UTF-8 text,
        modulo ``buckets``.
    """
    return int.from_bytes(_hash(str(id))[:4], "big") % buckets


def arm(user_id: int | str, weights: Sequence[float], salt: str | None = None) -> int:
    """Tell which of several current releases a user gets: always the same while weights and salt stay.

    Parameters
    ----------
    user_id
        An id of the data set.
    weights
        Those of the ledger entry's releases, in its order; each above 0.
    salt
        That of the entry's experiment; None if the entry has none. Another salt assigns users anew,
        independently of the salt before.

    Returns
    -------
    int
        The position of the first release whose cumulated weight is above ``h / 2**32 * sum(weights)``,
        where h is bytes 5 to 8, big-endian, of the SHA-256 of the id's UTF-8 text, with salt and a
        colon before it where there is a salt.
    """
    text = str(user_id) if salt is None else f"{salt}:{user_id}"
    # Not sum(): from Python 3.12 on it rounds unlike other languages (python/cpython#100425).
    cumulated = list(accumulate(map(float, weights)))
    point = int.from_bytes(_hash(text)[4:8], "big") / 2**32 * cumulated[-1]
    return min(bisect_right(cumulated, point), len(cumulated) - 1)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()
