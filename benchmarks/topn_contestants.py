"""The contestants of `benchmarks/topn_contest.py`: each prepares itself, then gives lists for a problem.

A pass returns the items of the users that are judged, or None where there are no lists. What a pass reads
from disk is laid out before it, outside of its time.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits
from topn_data import Floats, N, Problem

FILES = 8
Lists = list[npt.NDArray[np.int64]]
Pass = Callable[[Problem], Lists | None]
"""The items of the users that are judged, or None where there are none."""
Environment = dict[str, str | None]
"""Variables of a process; None is for one that is not set."""


def ours(problem: Problem, threads: int, prune: bool = True) -> Pass:
    """`topn`."""
    from topn import top_n

    def run(problem: Problem) -> Lists:
        run.found = None  # that of the pass before
        found = top_n(problem.users, problem.items, N, exclude=problem.seen, threads=threads, prune=prune)
        run.computed, run.found = found.computed, found
        run.output = found.items.nbytes + found.scores.nbytes + found.indptr.nbytes
        return [found.items[found.indptr[u] : found.indptr[u + 1]] for u in problem.judged]

    return run


def ours_unpruned(problem: Problem, threads: int) -> Pass:
    """The same without the early stop."""
    return ours(problem, threads, prune=False)


def sgemm(problem: Problem, threads: int) -> Pass:
    """Only the products, in the tiling that is fastest here; nothing is kept."""
    tilings = [(256, 512), (1024, 512), (128, 1024), (1024, len(problem.items))]
    some = problem.users[:1024]
    best = min(tilings, key=lambda tiling: _cpu(lambda: _multiply(some, problem.items, tiling, 1)))

    def run(problem: Problem) -> None:
        _multiply(problem.users, problem.items, best, threads)

    run.note = f"{best[0]} users x {best[1]} items"
    return run


def _multiply(users: Floats, items: Floats, tiling: tuple[int, int], threads: int) -> None:
    def block(at: int) -> None:
        rows = users[at : at + tiling[0]]
        out = np.empty(len(rows) * tiling[1], np.float32)
        for start in range(0, len(items), tiling[1]):
            tile = items[start : start + tiling[1]]
            np.dot(rows, tile.T, out[: len(rows) * len(tile)].reshape(len(rows), len(tile)))

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(block, range(0, len(users), tiling[0])))


def _cpu(work: Callable[[], Any]) -> float:
    import time

    work()
    began = time.process_time()
    work()
    return time.process_time() - began


def implicit(problem: Problem, threads: int) -> Pass:
    """`implicit.recommend`, 2048 users a call."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=problem.users.shape[1], num_threads=threads)
    model.item_factors = problem.items

    def run(problem: Problem) -> Lists:
        model.user_factors = problem.users
        with threadpool_limits(1, "blas"):
            found = [
                model.recommend(users, problem.seen[users], N=N, filter_already_liked_items=True)[0]
                for users in _batches(np.arange(len(problem.users)), 2048)
            ]
        lists = np.concatenate(found)
        return [lists[user] for user in problem.judged]

    return run


def argpartition(problem: Problem, threads: int) -> Pass:
    """Numpy alone: a product, a mask, argpartition; 256 users a step."""

    def part(problem: Problem, users: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        scores = problem.users[users] @ problem.items.T
        seen = problem.seen[users]
        scores[np.repeat(np.arange(len(users)), np.diff(seen.indptr)), seen.indices] = -np.inf
        best = np.argpartition(-scores, N, axis=1)[:, :N]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        return np.take_along_axis(best, order, 1)

    def run(problem: Problem) -> Lists:
        batches = list(_batches(np.arange(len(problem.users)), 256))
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            lists = np.concatenate(list(pool.map(lambda users: part(problem, users), batches)))
        return [lists[user] for user in problem.judged]

    return run


def faiss_flat(problem: Problem, threads: int) -> Pass:
    """`faiss.IndexFlatIP`, asked for as many more as users have seen."""
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(problem.items.shape[1])
    index.add(problem.items)
    return _over_fetched(lambda users, count: index.search(users, count)[1], len(problem.items))


def hnswlib(problem: Problem, threads: int) -> Pass:
    """Approximate: an HNSW graph for inner products, M 16, ef 200 at least."""
    import hnswlib

    index = hnswlib.Index("ip", problem.items.shape[1])
    index.init_index(len(problem.items), ef_construction=200, M=16, random_seed=1)
    index.add_items(problem.items, num_threads=threads)

    def search(users: Floats, count: int) -> npt.NDArray[np.int64]:
        for ef in (max(200, count), 2 * count, len(problem.items)):
            index.set_ef(ef)
            with suppress(RuntimeError):  # it found too few
                return index.knn_query(users, count, num_threads=threads)[0].astype(np.int64)
        raise RuntimeError(f"no {count} items were found")

    return _over_fetched(search, len(problem.items))


def annoy(problem: Problem, threads: int) -> Pass:
    """Approximate: Annoy's `dot`, 50 trees."""
    from annoy import AnnoyIndex

    index = AnnoyIndex(problem.items.shape[1], "dot")
    index.set_seed(1)
    for code, factors in enumerate(problem.items):
        index.add_item(code, factors)
    index.build(50, n_jobs=threads)

    def search(users: Floats, count: int) -> npt.NDArray[np.int64]:
        with ThreadPoolExecutor(threads) as pool:
            lists = list(pool.map(lambda user: index.get_nns_by_vector(user, count), users))
        return np.array([found + [-1] * (count - len(found)) for found in lists])

    return _over_fetched(search, len(problem.items))


def _over_fetched(search: Callable[[Floats, int], npt.NDArray[np.int64]], items: int) -> Pass:
    """Users by how much they have seen, 512 at a time: ask for as many more, drop what is seen."""

    def run(problem: Problem) -> Lists:
        lists: dict[int, npt.NDArray[np.int64]] = {}
        seen = np.diff(problem.seen.indptr)
        for users in _batches(np.argsort(seen, kind="stable"), 512):
            found = search(problem.users[users], min(items, N + int(seen[users].max())))
            for user, codes in zip(users, found, strict=True):
                new = codes[~np.isin(codes, problem.seen[user].indices)]
                lists[user] = new[new >= 0][:N]
        return [lists[user] for user in problem.judged]

    return run


def spark(problem: Problem, threads: int) -> Pass:
    """Spark ML's `recommendForAllUsers`, Parquet to Parquet."""
    from pyspark.ml.recommendation import ALSModel
    from pyspark.sql import SparkSession

    from lake import settings
    from spark_jobs import java

    os.environ.update(java.environment(settings.load()))
    folder = Path(tempfile.mkdtemp(prefix="topn-spark-"))
    builder = SparkSession.builder.master(f"local[{threads}]").config("spark.driver.memory", "4g")
    builder = (
        builder.config("spark.ui.showConsoleProgress", "false")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", str(threads))
    )
    engine = builder.getOrCreate()

    def run(problem: Problem) -> Lists:
        model = ALSModel.load(str(folder / "model"))
        model.recommendForAllUsers(N).write.mode("overwrite").parquet(str(folder / "lists"))

        found = engine.read.parquet(str(folder / "lists"))
        asked = found.filter(found.user.isin(problem.judged.tolist())).collect()
        lists = {row.user: np.array([one.item for one in row.recommendations]) for row in asked}
        return [lists[user] for user in problem.judged]

    run.lay_out = lambda problem: _spark_model(folder / "model", problem)
    run.close = lambda: (engine.stop(), shutil.rmtree(folder))
    return run


def _spark_model(folder: Path, problem: Problem) -> None:
    """What `ALSModel.load` reads."""
    import json

    shutil.rmtree(folder, ignore_errors=True)
    (folder / "metadata").mkdir(parents=True)
    parameters = {"userCol": "user", "itemCol": "item", "predictionCol": "prediction"}
    defaults = {"blockSize": 4096, "coldStartStrategy": "nan"}
    note = {"class": "org.apache.spark.ml.recommendation.ALSModel", "timestamp": 0, "sparkVersion": "4.2.0"}
    note |= {"uid": "als", "paramMap": parameters, "defaultParamMap": defaults}
    note |= {"rank": problem.users.shape[1]}
    (folder / "metadata" / "part-00000").write_text(json.dumps(note) + "\n")
    (folder / "metadata" / "_SUCCESS").touch()
    for name, factors in (("userFactors", problem.users), ("itemFactors", problem.items)):
        (folder / name).mkdir()
        _write_factors(folder / name, factors)


def _write_factors(folder: Path, factors: Floats) -> None:
    """Eight files, as tasks of Spark would leave them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, codes in enumerate(np.array_split(np.arange(len(factors), dtype=np.int32), FILES)):
        offsets = np.arange(len(codes) + 1, dtype=np.int32) * factors.shape[1]
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(factors[codes].reshape(-1)))
        pq.write_table(pa.table({"id": codes, "features": lists}), folder / f"part-{number}.parquet")


def ours_parquet(problem: Problem, threads: int) -> Pass:
    """`topn` from Parquet to Parquet, as Spark does it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from topn import top_n

    folder = Path(tempfile.mkdtemp(prefix="topn-ours-"))

    def factors(path: Path) -> Floats:
        lists = pq.read_table(path)["features"].combine_chunks()
        return lists.flatten().to_numpy().reshape(len(lists), -1)

    for name in ("users", "items"):
        (folder / name).mkdir()

    def lay_out(problem: Problem) -> None:
        _write_factors(folder / "users", problem.users)
        _write_factors(folder / "items", problem.items)

    def run(problem: Problem) -> Lists:
        users, items = factors(folder / "users"), factors(folder / "items")
        found = top_n(users, items, N, exclude=problem.seen, threads=threads)
        columns = {
            name: pa.LargeListArray.from_arrays(pa.array(found.indptr), pa.array(values))
            for name, values in (("items", found.items), ("scores", found.scores))
        }
        pq.write_table(pa.table(columns), folder / "lists")
        return [found.items[found.indptr[u] : found.indptr[u + 1]] for u in problem.judged]

    run.lay_out, run.close = lay_out, lambda: shutil.rmtree(folder)
    return run


def _batches(users: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    for at in range(0, len(users), size):
        yield users[at : at + size]


CONTESTANTS: dict[str, tuple[Callable[[Problem, int], Pass], Environment]] = {
    "ours": (ours, {}),
    "ours, no pruning": (ours_unpruned, {}),
    "sgemm": (sgemm, {}),
    "sgemm, OpenBLAS's own choice": (sgemm, {"OPENBLAS_CORETYPE": None}),
    "implicit": (implicit, {}),
    "numpy argpartition": (argpartition, {}),
    "faiss flat": (faiss_flat, {"OPENBLAS_NUM_THREADS": "{threads}"}),
    "hnswlib": (hnswlib, {}),
    "annoy": (annoy, {}),
    "ours, Parquet": (ours_parquet, {}),
    "Spark ML": (spark, {}),
}
BLIND = ("ours, Parquet", "Spark ML")
"""Those that leave nothing out, for Spark ML cannot."""

HELD = ("ours", "ours, no pruning", "sgemm", "implicit")
"""Those that do without AVX-512 when Numba and OpenBLAS are told to; the others choose for themselves."""
