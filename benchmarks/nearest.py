"""One user's exact best 10 items, over and over: the reader's `nearest` beside a full scan by numpy.

    python benchmarks/nearest.py

Data sets are those of `benchmarks/topn_contest.py`, so is the page: docs/benchmarks.md. Queries alternate
between the two, so that the items are not in the caches; then ours are made once more, one after the
other. Each answer of ours has to be that of a full sort of exact scores.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import topn_data as data
from topn_contest import HOME, RESULTS, ROOT, machine
from topn_table import write_page

from nightjar_reader.search import ExactSearch, exact_scores, ranked

SETS = ("cj", "cj-flat", "ml20", "ml20-flat")
QUERIES, FACTORS, BEST = 1000, 64, 10


def main() -> None:
    """Measure all sets and write the page."""
    raw = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=raw).parse_args()
    records = [_measured(name) for name in SETS]
    RESULTS.with_name("nearest.json").write_text(json.dumps(records, indent=1) + "\n")
    write_page(RESULTS.parent, ROOT / "docs" / "benchmarks.md")


def _measured(name: str) -> dict[str, Any]:
    problem = data.load(HOME, name, FACTORS, 1)
    search = ExactSearch(problem.items)
    chosen = np.random.default_rng(data.SEED).permutation(len(problem.users))[:QUERIES]
    times: dict[str, list[float]] = {"nearest": [], "scan": [], "warm": []}
    for user in problem.users[chosen]:
        found = _timed(times["nearest"], lambda user=user: search.nearest(user, BEST))
        _timed(times["scan"], lambda user=user: _scan(problem.items, user))
        best = ranked(np.arange(len(problem.items), dtype=np.int32), exact_scores(problem.items, user), BEST)
        assert all(np.array_equal(mine, right) for mine, right in zip(found, best, strict=True)), user
    for user in problem.users[chosen]:
        _timed(times["warm"], lambda user=user: search.nearest(user, BEST))
    shown = {
        who: {f"p{p}": round(float(np.percentile(ms, p)), 4) for p in (50, 99)} for who, ms in times.items()
    }
    record = {"set": name, "factors": FACTORS, "items": len(problem.items), "ms": shown}
    print(record, file=sys.stderr)
    return record | {"machine": machine()}


def _timed(times: list[float], work: Any) -> Any:
    began = time.perf_counter()
    found = work()
    times.append(1000 * (time.perf_counter() - began))
    return found


def _scan(items: data.Floats, user: data.Floats) -> Any:
    """What is written where nobody thinks about it; its scores are those of BLAS."""
    scores = items @ user
    best = np.argpartition(-scores, BEST)[:BEST]
    return best[np.argsort(-scores[best], kind="stable")]


if __name__ == "__main__":
    main()
