"""Training and lists of a large generated shop: seconds and peak memory of each step.

    python benchmarks/large.py make FOLDER       # a lake in which training can begin: a few minutes
    python benchmarks/large.py train FOLDER      # one night's training; figures into results/large.json
    python benchmarks/large.py lists FOLDER      # then its lists and index
    python benchmarks/large.py raw FOLDER        # raw day files instead, for the whole way through Spark

`--users`, `--items`, `--rows` and `--days` say how large; `--quick` takes the same memory in less
time. With `raw`, set NIGHTJAR_HOME=FOLDER and NIGHTJAR_DATASET=FOLDER/large.toml, and go on with
`nightjar bootstrap` and `nightjar run night`.
"""

import argparse
import json
import logging
import os
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import large_data  # noqa: E402
import psutil  # noqa: E402

from lake import cores  # noqa: E402
from lake.dataset import read_dataset  # noqa: E402
from lake.lake import Lake  # noqa: E402
from lake.settings import Settings  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "large.json"
GIB, KIB = 2**30, 2**10


def main() -> None:
    """Make or measure what is asked for."""
    asked = _arguments()
    shop = large_data.Shop(asked.users, asked.items, asked.rows, asked.days)
    threads = asked.threads or cores.count()
    settings = large_data.settings_of(asked.folder.absolute(), shop, threads, asked.quick)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if asked.what == "make":
        return large_data.write_lake(settings, shop)
    if asked.what == "raw":
        return large_data.write_raw(settings, shop)
    steps = _Steps()
    work = {"train": _train, "lists": _lists}[asked.what]
    result = work(settings, shop, steps)
    _note(
        {
            "what": asked.what,
            "quick": asked.quick,
            **vars(shop),
            "max_users": read_dataset(settings.dataset).training.max_users,
            **result,
            "steps": steps.seen,
        }
        | steps.whole()
        | _machine(threads)
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["make", "raw", "train", "lists"])
    parser.add_argument("folder", type=Path, help="the home of lake, releases and data set")
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=9_000_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one ALS iteration and 10 rounds: equal memory")
    return parser.parse_args()


class _Steps(logging.Handler):
    """What the stages log, each line with the seconds and the peak of memory since the line before."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []
        self._began = self._last = time.monotonic()
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        now, told = time.monotonic(), record.getMessage()
        step = {"log": told, "seconds": round(now - self._last, 1), "peak_gib": round(_peak() / GIB, 2)}
        self.seen.append(step)
        self._last = now
        Path("/proc/self/clear_refs").write_text("5")  # the kernel counts the peak anew
        print(f"  {step['seconds']:8.1f} s {step['peak_gib']:6.2f} GiB  {told}", file=sys.stderr, flush=True)

    def whole(self) -> dict[str, Any]:
        """Seconds of all, and the highest peak."""
        peak = max(round(_peak() / GIB, 2), *(step["peak_gib"] for step in self.seen))
        return {"seconds": round(time.monotonic() - self._began, 1), "peak_gib": peak}


def _peak() -> int:
    """The most resident memory since the count began, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("VmHWM"))


def _train(settings: Settings, shop: large_data.Shop, steps: _Steps) -> dict[str, Any]:
    from nightjar.stages import attempt as attempts
    from nightjar.stages import decision
    from nightjar.stages.train import Train

    lake = Lake.open(settings)
    attempt = attempts.begin(lake, Train(settings.threads or cores.count()), [shop.last])
    attempts.work(lake, Train(), attempt)
    record = decision.commit_decision(shop.last, attempt, lake)
    return {
        "outcome": record.outcome,
        "counts": dict(record.counts),
        "bundle_id": record.details["bundle_id"],
    }


def _lists(settings: Settings, shop: large_data.Shop, steps: _Steps) -> dict[str, Any]:
    from nightjar.stages import attempt as attempts
    from nightjar.stages.precompute import Precompute

    lake = Lake.open(settings)
    attempt = attempts.begin(lake, Precompute(settings.threads or cores.count()), [shop.last])
    attempts.work(lake, Precompute(), attempt)
    result = attempts.read_made(lake, Precompute(), attempt)
    return {"counts": result.counts, "release_id": result.release_id}


def _machine(threads: int) -> dict[str, Any]:
    return {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "threads": threads,
            "memory_gib": round(psutil.virtual_memory().total / GIB),
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "command": shlex.join(["python", "benchmarks/large.py", *sys.argv[1:2], "FOLDER", *sys.argv[3:]]),
        }
    }


def _note(record: dict[str, Any]) -> None:
    """Replace the figures of the same work at the same size."""
    key = ("what", "quick", "max_users", "users", "items", "rows", "days")
    there = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    kept = [old for old in there if [old[k] for k in key] != [record[k] for k in key]]
    RESULTS.write_text(json.dumps([*kept, record], indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
