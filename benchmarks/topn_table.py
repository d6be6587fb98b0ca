"""The tables of `benchmarks/topn_contest.py` and `benchmarks/nearest.py`."""

import json
from pathlib import Path
from statistics import median
from typing import Any

MARK = "<!-- what follows is written by benchmarks/topn_contest.py and benchmarks/nearest.py -->"
REFERENCE, SHIPPED = "sgemm", "sgemm, OpenBLAS's own choice"
NEAREST = ("nearest", "warm", "scan")
COLUMNS = (
    "contestant",
    "users",
    "users/CPU-s",
    "x sgemm",
    "x sgemm as shipped",
    "users/s",
    "prepare s",
    "held MiB",
    "peak MiB",
    "recall",
    "computed",
)


def write_page(results: Path, page: Path) -> None:
    """Replace what follows the mark in a page by tables of the results that there are."""
    kept = page.read_text().partition(MARK)[0]
    records, nearest = (_read(results / f"{name}.json") for name in ("topn", "nearest"))
    parts = [kept + MARK, tables(records), _nearest(nearest)]
    page.write_text("\n\n".join(part for part in parts if part) + "\n")


def kind_of(record: dict[str, Any]) -> tuple[str, int, str, bool]:
    """What records have in common that are to be compared: data set, factors, vectors, growth or not."""
    return record["set"], record["factors"], _vectors(record), record["growth"]


def _vectors(record: dict[str, Any]) -> str:
    return record["machine"].get("vectors", "AVX-512")  # which the first runs did not note


def tables(records: list[dict[str, Any]]) -> str:
    """A table for each data set, factors and vectors, and what is known of growth."""
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(kind_of(record)[:3], []).append(record)
    parts = [_table(name, factors, rows) for (name, factors, _), rows in groups.items()]
    parts += [_growth([record for record in records if record["growth"] and record["contestant"] == "ours"])]
    return "\n\n".join(part for part in parts if part)


def _read(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text()) if file.exists() else []


def _nearest(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    head = [
        "| set, f | items | `nearest` p50, p99 ms | one after the other | full scan by numpy p50, p99 ms |",
        "|---|---|---|---|---|",
    ]
    lines = []
    for row in rows:
        shown = [f"{row['ms'][who]['p50']:.3f}, {row['ms'][who]['p99']:.3f}" for who in NEAREST]
        lines += [f"| {row['set']}, {row['factors']} | {row['items']:,} | {' | '.join(shown)} |"]
    return "\n".join(["## The reader's `nearest`", "", *head, *lines])


def _table(name: str, factors: int, rows: list[dict[str, Any]]) -> str:
    rows = [row for row in rows if not row["growth"]]
    if not rows:
        return ""
    raw = [next((row for row in rows if row["contestant"] == who), None) for who in (REFERENCE, SHIPPED)]
    lines = [
        f"## {name}, f = {factors}, {_vectors(rows[0])}",
        "",
        _machine(rows[0]),
        "",
        f"| {' | '.join(COLUMNS)} |",
    ]
    lines += ["|---" * len(COLUMNS) + "|"]
    lines += [_line(row, raw) for row in sorted(rows, key=lambda row: -_rate(row, "cpu"))]
    return "\n".join(lines)


def _line(row: dict[str, Any], raw: list[dict[str, Any] | None]) -> str:
    last, is_spark = row["passes"][-1], "Spark" in row["contestant"]
    cells = [
        row["contestant"] + (f" ({row['note']})" if row["note"] else ""),
        f"{row['users']:,}",
        f"{_rate(row, 'cpu'):,.0f}",
        *(_ratio(row, other) if other else "" for other in raw),
        f"{_rate(row, 'wall'):,.0f}",
        f"{row['prepare']:.1f}",
        "" if is_spark else f"{row['held_mib']:,.0f}",
        "" if is_spark else f"{max(one['peak_mib'] for one in row['passes']):,.0f}",
        f"{last['recall']:.4f}" if "recall" in last else "",
        f"{last['computed']:.1%}" if "computed" in last else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _ratio(row: dict[str, Any], other: dict[str, Any]) -> str:
    """Round by round, as they were made one after the other: the median, the least and the largest."""
    each = row["users"] / other["users"]
    pairs = zip(row["passes"], other["passes"], strict=True)
    found = sorted(each * two["cpu"] / one["cpu"] for one, two in pairs)
    return f"{median(found):.2f} ({found[0]:.2f}-{found[-1]:.2f})"


def _rate(row: dict[str, Any], clock: str) -> float:
    return row["users"] / median(one[clock] for one in row["passes"])


def _machine(row: dict[str, Any]) -> str:
    machine = row["machine"]
    return (
        f"{machine['cpu']} with {_vectors(row)}, {row['threads']} threads, {machine['memory_gib']} GiB,"
        f" Python {machine['python']}, load {machine['load']}, median of {len(row['passes'])} passes;"
        f" {row['items']:,} items, {row['seen']:,} of the pairs are left out."
    )


def _growth(rows: list[dict[str, Any]]) -> str:
    whole = {(row["set"], row["factors"]): row for row in rows if not row["half"]}
    lines = []
    for row in rows:
        if row["half"]:
            other = whole.get((row["set"], row["factors"]))
            lines += [_grown(row, other, f"{row['half']} x 2")] if other else []
    for (name, factors), row in whole.items():
        other = whole.get((name, 2 * factors))
        lines += [_grown(row, other, "factors x 2")] if other else []
    if not lines:
        return ""
    head = ["| set, f | twice as many | CPU-s | x | computed |", "|---|---|---|---|---|"]
    return "\n".join(["## How cost grows", "", *head, *lines])


def _grown(less: dict[str, Any], more: dict[str, Any], what: str) -> str:
    low, high = (median(one["cpu"] for one in row["passes"]) for row in (less, more))
    computed = [f"{row['passes'][-1]['computed']:.1%}" for row in (less, more)]
    name = f"{less['set']}, {less['factors']}"
    return f"| {name} | {what} | {low:.3f} -> {high:.3f} | {high / low:.2f} | {' -> '.join(computed)} |"
