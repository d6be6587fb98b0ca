"""The ranking set of one snapshot: candidates as of that day, labelled by the days after it."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake.dataset import Dataset
from recommender.arrays import Bool, Int32, Int64, UInt64
from recommender.asof import AsOf, Block
from recommender.candidates import Candidates, candidates
from recommender.ids import Ids
from recommender.matrix import matrix
from recommender.retrieval import Retrieval, of_users
from recommender.view import View
from training.labels import Truth
from training.metrics import ideal
from training.set_files import RankingSet, SetFile


def build(
    as_of: AsOf, retrieval: Retrieval, truth: Truth, data: Dataset, threads: int, target: Path
) -> SetFile:
    """Make the ranking set of a snapshot, a block of users at a time.

    At most `training.max_users` users are taken. Those with no true item among their candidates
    are left out. Of the others all positives are taken, and the `negatives` with the lowest `mix`
    of user id and item id.

    Parameters
    ----------
    as_of
        The snapshot.
    retrieval
        As of the snapshot, by its codes.
    truth
        Labels of the days after it.
    threads
        How many to use; changes nothing in the result.
    target
        The file to write.
    """
    users = np.unique(truth.users)
    taken = sample(as_of.small, users, data.training.max_users)
    part_of = partial(_part, retrieval=retrieval, truth=truth, data=data)
    parts = as_of.each(part_of, threads, taken)
    return SetFile.write(target, (part for part in parts if len(part.labels)), len(users), len(taken))


def sample(view: View, users: Int32, most: int) -> Int32:
    """At most `most` users, in order of their codes: those with the lowest `mix` of id and day.

    The choice depends on ids and day alone. Another day gives other users, so that all snapshots
    together know more users than one of them.
    """
    if len(users) <= most:
        return users
    rank = mix(_bits_of(view.users, users), np.array([view.day.toordinal()], np.uint64))
    return np.sort(users[np.argsort(rank, kind="stable")[:most]])


def _part(block: Block, retrieval: Retrieval, truth: Truth, data: Dataset) -> RankingSet:
    view, mine = block.view, of_users(retrieval, block.users, block.view.users)
    pool = candidates(view, mine, data, None)
    rows = pool.rows.astype(np.int32)
    positive = truth.holds(block.users[rows], pool.items)
    rank = mix(_bits_of(view.users, rows), _bits_of(view.items, pool.items))
    chosen = choose(rows, positive, rank, data.training.negatives)
    rows, items, positive = rows[chosen], pool.items[chosen], positive[chosen]
    kept, owners = np.unique(rows, return_inverse=True)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(kept)))]).astype(np.int64)
    weights = 1.0 / ideal(truth.counts[block.users[kept]], data.evaluation.cut)
    return RankingSet(
        features=matrix(view, mine, kept, Candidates(indptr, items, np.ones(len(kept), bool))),
        labels=positive.astype(np.float32),
        weights=weights[owners].astype(np.float32),
        groups=block.users[kept][owners],
    )


def choose(rows: Int32, positive: Bool, rank: UInt64, negatives: int) -> Int64:
    """Which candidates are rows of the set, in their order.

    Parameters
    ----------
    rows
        int32, the user of each candidate, ascending.
    positive
        bool, whether it is a true item.
    rank
        uint64, the order among a user's negatives.
    """
    order = np.lexsort((rank, positive, rows))
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    sizes = np.diff(np.append(starts, len(rows)))
    place = np.arange(len(rows)) - np.repeat(starts, sizes)
    taken = positive[order] | (place < negatives)
    has_positive = (
        np.repeat(np.add.reduceat(positive, starts, dtype=np.int64) > 0, sizes) if len(rows) else taken
    )
    return np.sort(order[taken & has_positive])


def mix(users: UInt64, items: UInt64) -> UInt64:
    """A pseudo-random uint64 of each pair: ``f(f(user) + item)``, f the finaliser of SplitMix64.

    Depends on the ids alone; of one user no two different `items` give the same number.
    """
    return _finalise(_finalise(users) + items)


def _finalise(values: UInt64) -> UInt64:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def id_bits(values: pa.Array) -> UInt64:
    """Ids as uint64: integers as they are, strings by the first 8 bytes of the BLAKE2b of their UTF-8."""
    if pa.types.is_integer(values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.int64).view(np.uint64)
    digests = (hashlib.blake2b(value.encode(), digest_size=8).digest() for value in values.to_pylist())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _bits_of(ids: Ids, codes: Int32) -> UInt64:
    distinct, places = np.unique(codes, return_inverse=True)
    return id_bits(ids.take(distinct))[places]
