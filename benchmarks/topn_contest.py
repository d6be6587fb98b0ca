"""Exact top-100 for all users, what was seen left out: `topn` beside what else there is.

    pip install -r benchmarks/requirements.txt
    python benchmarks/topn_contest.py                # everything; --estimate says how long that takes
    python benchmarks/topn_contest.py --set cj --contestant ours --contestant sgemm --quick   # only prints
    python benchmarks/topn_contest.py --growth
    python benchmarks/topn_contest.py --avx2         # as on a processor without AVX-512
    python benchmarks/topn_contest.py --table        # only writes docs/benchmarks.md from the results

Each contestant is one process with the same inputs; they take turns, a pass each, `--rounds` times.
A pass that would take more than five minutes is made on 4,096 users drawn by seed. Except with
--quick, the figures of a data set and factors replace all earlier ones of these, with the same vectors,
in benchmarks/results/topn.json, so that each table of docs/benchmarks.md, which is made from that file,
is of one run.
"""

import argparse
import ctypes
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import topn_data as data  # noqa: E402
from topn_contestants import BLIND, CONTESTANTS, HELD, Environment  # noqa: E402
from topn_table import kind_of, tables, write_page  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "topn.json"
HOME = Path(os.environ.get("NIGHTJAR_HOME", ROOT / ".nightjar")) / "benchmarks" / "topn"
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "implicit", "annoy", "faiss-cpu", "hnswlib", "pyspark")
SLOW_SECONDS = 300
FEW_USERS, QUICK_USERS, PILOT_USERS, MOST_TIMES, EXACT_USERS = 4096, 1024, 512, 20, 20


def main() -> None:
    """Run what is asked for, one data set after the other, and write the table."""
    asked = _arguments()
    if asked.worker:
        return _work(asked)
    if asked.estimate:
        return _estimate(asked)
    for name, factors in product(asked.set, asked.factors) if not asked.table else ():
        records = _measure(asked, name, factors)
        if asked.quick:
            print(tables(records))
    if not asked.quick:
        write_page(RESULTS.parent, ROOT / "docs" / "benchmarks.md")


def _arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--set", action="append", choices=data.NAMES, help="again for more; default all")
    parser.add_argument("--factors", action="append", type=int, help="default 64 and 128")
    parser.add_argument("--contestant", action="append", choices=CONTESTANTS, help="default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_USERS} users; prints, keeps nothing")
    parser.add_argument("--avx2", action="store_true", help="leave AVX-512 out, with who can do without")
    parser.add_argument("--growth", action="store_true", help="ours at half the users, items, history")
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--estimate", action="store_true", help="from the results that there are")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.set = asked.set or (["ml20"] if asked.growth else list(data.NAMES))
    asked.factors = asked.factors or [64, 128]
    asked.contestant = asked.contestant or (
        ["ours"] if asked.growth else list(HELD if asked.avx2 else CONTESTANTS)
    )
    return asked


def _measure(asked: argparse.Namespace, name: str, factors: int) -> list[dict[str, Any]]:
    """All contestants on one data set: start them one by one, then let them take turns."""
    data.load(HOME, name, factors, asked.threads)
    kinds = ["", "users", "items", "history"] if asked.growth else [""]
    workers = [_Worker(asked, name, factors, who, half) for who in asked.contestant for half in kinds]
    for _ in range(asked.rounds):
        for worker in workers:
            worker.turn()
        records = [worker.record() for worker in workers]
        if not asked.quick:
            _store(records)  # what is cut off keeps its whole rounds
    for worker in workers:
        worker.end()
    return records


class _Worker:
    """One contestant's process; `turn` makes it do a pass."""

    def __init__(self, asked: argparse.Namespace, name: str, factors: int, who: str, half: str) -> None:
        began = time.monotonic()
        command = [sys.executable, __file__, "--worker", who + "|" + half, "--set", name]
        command += ["--factors", str(factors), "--threads", str(asked.threads)] + ["--quick"] * asked.quick
        environment = _environment(CONTESTANTS[who][1], asked)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)
        self._key = {"set": name, "factors": factors, "contestant": who, "half": half}
        self._key |= {"threads": asked.threads, "growth": asked.growth}
        self._vectors = _vectors(asked)
        self._facts, self._passes = self._read(), []
        self._spent = time.monotonic() - began

    def turn(self) -> None:
        began = time.monotonic()
        print("go", file=self._process.stdin, flush=True)
        self._passes.append(self._read())
        self._spent += time.monotonic() - began
        print(self._key | self._passes[-1], file=sys.stderr)

    def end(self) -> None:
        self._process.communicate()

    def record(self) -> dict[str, Any]:
        facts = self._key | self._facts | {"passes": self._passes}
        return facts | {"spent": round(self._spent), "machine": machine() | {"vectors": self._vectors}}

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._key}: the process ended, {self._process.wait()}")
        return json.loads(line)


def _has_avx512() -> bool:
    return "avx512f" in Path("/proc/cpuinfo").read_text()


def _vectors(asked: argparse.Namespace) -> str:
    """What the processor has, or is held to."""
    if _has_avx512():
        return "AVX-512 held to AVX2" if asked.avx2 else "AVX-512"
    return "AVX2"


def _environment(own: Environment, asked: argparse.Namespace) -> dict[str, str]:
    """All get OpenBLAS's fastest kernels, which it does not find on some processors; `own` comes first."""
    told: Environment = {"OPENBLAS_NUM_THREADS": "1"}
    if asked.avx2:
        told |= {"OPENBLAS_CORETYPE": "Haswell", "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
    elif _has_avx512():
        told |= {"OPENBLAS_CORETYPE": "SkylakeX"}
    told |= own
    kept = {name: value for name, value in os.environ.items() if name not in told}
    return kept | {
        name: value.format(threads=asked.threads) for name, value in told.items() if value is not None
    }


def machine() -> dict[str, Any]:
    """What was measured on, and with what."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    packages = {}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = None
    return {
        "cpu": cpu.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "load": round(os.getloadavg()[1], 1),
        "python": platform.python_version(),
        "packages": packages,
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def _store(records: list[dict[str, Any]]) -> None:
    """Put the records of a run in the place of all earlier ones of its data set, factors and kind."""
    earlier = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    kept = [record for record in earlier if kind_of(record) != kind_of(records[0])]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(sorted(kept + records, key=kind_of), indent=1) + "\n")


def _estimate(asked: argparse.Namespace) -> None:
    """Add up what each contestant took in the run that the results are of."""
    records = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    records = [record for record in records if kind_of(record)[2:] == (_vectors(asked), False)]
    spent = {(r["set"], r["factors"], r["contestant"]): r["spent"] for r in records}
    wanted = [(s, f, c) for s in asked.set for f in asked.factors for c in asked.contestant]
    for key in wanted:
        print(*key, f"{spent[key]} s" if key in spent else "unknown")
    known = sum(spent.get(key, 0) for key in wanted)
    print(f"{known} s for {sum(key in spent for key in wanted)} of {len(wanted)}; data sets are made once")


def _work(asked: argparse.Namespace) -> None:
    """The process of one contestant: prepare, say so, then a pass for each line that comes in."""
    answers = os.fdopen(os.dup(1), "w")  # libraries print to standard output
    os.dup2(2, 1)
    who, _, half = asked.worker.partition("|")
    whole = data.load(HOME, asked.set[0], asked.factors[0], asked.threads)
    problem = data.halved(whole, half) if half else whole
    problem = problem.unseen() if who in BLIND else problem
    began, resident = time.monotonic(), _resident("VmRSS")
    contestant = CONTESTANTS[who][0](problem, asked.threads)
    prepared, held = time.monotonic() - began, _resident("VmRSS") - resident
    chosen, times = _affordable(problem, contestant, asked.quick)
    facts = {"users": len(chosen.users), "items": len(chosen.items), "seen": int(chosen.seen.nnz)}
    facts |= {"prepare": round(prepared, 2), "held_mib": round(held, 1)}
    facts |= {"note": getattr(contestant, "note", "")}
    _lay_out(contestant, chosen)
    print(json.dumps(facts), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(_pass(chosen, contestant, times)), file=answers, flush=True)
    getattr(contestant, "close", lambda: None)()


def _affordable(problem: data.Problem, contestant: Any, quick: bool) -> tuple[data.Problem, int]:
    """All users, or so many that a pass does not take too long, and how often, not to be too short.

    It also is the first pass, which warms up.
    """
    pilot = problem.part(PILOT_USERS)
    _lay_out(contestant, pilot)
    contestant(pilot)
    began = time.monotonic()
    contestant(pilot)
    each = (time.monotonic() - began) / len(pilot.users)
    many = each * len(problem.users) > SLOW_SECONDS
    chosen = problem.part(QUICK_USERS if quick else FEW_USERS if many else len(problem.users))
    return chosen, min(MOST_TIMES, 1 + int(1 / (each * len(chosen.users))))


def _lay_out(contestant: Any, problem: data.Problem) -> None:
    """Let a contestant write what it will read."""
    getattr(contestant, "lay_out", lambda problem: None)(problem)


def _pass(problem: data.Problem, contestant: Any, times: int) -> dict[str, Any]:
    ctypes.CDLL(None).malloc_trim(0)  # what earlier passes have freed is not to hide what this one takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before, wall, cpu = _resident("VmRSS"), time.monotonic(), _cpu_seconds()
    for _ in range(times):
        lists = None  # of the time before: not to count as memory that this one takes
        lists = contestant(problem)
    wall, cpu = (time.monotonic() - wall) / times, (_cpu_seconds() - cpu) / times
    beyond = _resident("VmHWM") - before - getattr(contestant, "output", 0) / 2**20
    found = {"wall": round(wall, 4), "cpu": round(cpu, 4), "peak_mib": round(beyond, 1)}
    if lists is not None:
        found["recall"] = round(_recall(problem, lists), 5)
    if hasattr(contestant, "computed"):
        found["computed"] = round(contestant.computed, 5)
        found["exact"] = _is_exact(problem, contestant.found)
        contestant.found = None
    return found


def _resident(what: str) -> float:
    """MiB of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def _cpu_seconds() -> float:
    """Of this process and those that it started."""
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in children)


def _recall(problem: data.Problem, lists: list[Any]) -> float:
    """The share of the right scores that the lists have, mean over users: equal scores count alike."""
    shares = []
    for user, best, codes in zip(problem.judged, problem.best, lists, strict=True):
        known = np.setdiff1d(codes[codes >= 0], problem.seen[user].indices)
        if not len(best):
            shares.append(float(len(known) == 0))
            continue
        exact = problem.items[known].astype(np.float64) @ problem.users[user].astype(np.float64)
        least = best[-1] - 1e-6 * np.abs(best[-1])
        shares.append(min(1.0, (exact >= least).sum() / len(best)))
    return float(np.mean(shares))


def _is_exact(problem: data.Problem, found: Any) -> bool:
    """Whether some lists of ours are, bit for bit, those of a full sort."""
    from nightjar_reader.search import exact_scores, ranked

    for user in problem.judged[:EXACT_USERS]:
        codes = np.setdiff1d(np.arange(len(problem.items)), problem.seen[user].indices).astype(np.int32)
        best, scores = ranked(codes, exact_scores(problem.items[codes], problem.users[user]), data.N)
        mine = slice(found.indptr[user], found.indptr[user + 1])
        same = found.items[mine].tolist(), found.scores[mine].tobytes()
        if same != (best.tolist(), scores.tobytes()):
            return False
    return True


if __name__ == "__main__":
    main()
