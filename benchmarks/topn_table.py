"""The table of `benchmarks/topn.py`."""

from pathlib import Path
from statistics import median
from typing import Any

MARK = "<!-- benchmarks/topn.py writes from here on -->"
REFERENCE = "sgemm"


def write_table(records: list[dict[str, Any]], page: Path) -> None:
    """Replace what follows the mark in a page."""
    kept = page.read_text().partition(MARK)[0]
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["set"], record["factors"]), []).append(record)
    parts = [kept + MARK]
    parts += [_table(name, factors, rows) for (name, factors), rows in groups.items()]
    parts += [_growth([record for record in records if record["half"] or record["contestant"] == "ours"])]
    page.write_text("\n\n".join(part for part in parts if part) + "\n")


def _table(name: str, factors: int, rows: list[dict[str, Any]]) -> str:
    rows = [row for row in rows if not row["half"]]
    if not rows:
        return ""
    raw = next((_rate(row, "cpu") for row in rows if row["contestant"] == REFERENCE), None)
    lines = [f"## {name}, f = {factors}", "", _machine(rows[0]), ""]
    lines += ["| contestant | users | users/CPU-s | x sgemm | users/s | peak MiB | recall | computed |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    lines += [_line(row, raw) for row in sorted(rows, key=lambda row: -_rate(row, "cpu"))]
    return "\n".join(lines)


def _line(row: dict[str, Any], raw: float | None) -> str:
    rate, last = _rate(row, "cpu"), row["passes"][-1]
    cells = [
        row["contestant"] + (f" ({row['note']})" if row["note"] else ""),
        f"{row['users']:,}",
        f"{rate:,.0f}",
        f"{rate / raw:.2f}" if raw else "",
        f"{_rate(row, 'wall'):,.0f}",
        f"{max(one['peak_mib'] for one in row['passes']):,.0f}" if "Spark" not in row["contestant"] else "",
        f"{last['recall']:.4f}" if "recall" in last else "",
        f"{last['computed']:.1%}" if "computed" in last else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _rate(row: dict[str, Any], clock: str) -> float:
    return row["users"] / median(one[clock] for one in row["passes"])


def _machine(row: dict[str, Any]) -> str:
    machine = row["machine"]
    return (
        f"{machine['cpu']}, {row['threads']} threads, {machine['memory_gib']} GiB,"
        f" Python {machine['python']}, load {machine['load']}, median of {len(row['passes'])} passes."
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
