"""A validation's result as JSON and as a page that anyone can read, kept beside the records."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lake import layout
from lake.ledger import encode
from lake.storage import Storage
from validation.gate import Check, failed

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1c2430 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #d8dee6; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.passed { color: #1a7f37 } .failed { color: #b42318; font-weight: 600 }
.warned { color: #9a6700; font-weight: 600 }
"""


def write(
    storage: Storage,
    stage: str,
    day: str,
    attempt: str,
    checks: Sequence[Check],
    counts: Mapping[str, Mapping[str, int]],
) -> str:
    """Put a report's two files and return the address of the page.

    Parameters
    ----------
    day
        The partition, or the first and last of a range.
    counts
        Per partition (or table) the counts that the checks judged.
    """
    verdict = "refused" if failed(checks) else "passed"
    content: dict[str, Any] = {
        "stage": stage,
        "partition": day,
        "attempt": attempt,
        "verdict": verdict,
        "checks": [asdict(check) for check in checks],
        "counts": {name: dict(found) for name, found in counts.items()},
    }
    page = layout.report(stage, day, attempt, "html")
    storage.put_new(layout.report(stage, day, attempt, "json"), encode(content))
    storage.put_new(page, _page(f"{stage} of {day}: {verdict}", checks, counts).encode())
    return storage.uri(page)


def _page(title: str, checks: Sequence[Check], counts: Mapping[str, Mapping[str, int]]) -> str:
    order = sorted(checks, key=lambda check: (check.passed, check.severity, check.name))
    rows = "".join(_row(check) for check in order)
    head = "<tr><th>Check</th><th>Result</th><th>Expected</th><th>Found</th></tr>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"<table>{head}{rows}</table>{_counts(counts)}</body></html>\n"
    )


def _row(check: Check) -> str:
    word = "passed" if check.passed else ("warned" if check.severity == "warning" else "failed")
    cells = (check.name, check.expected, check.found)
    name, expected, found = (html.escape(cell) for cell in cells)
    return f'<tr><td>{name}</td><td class="{word}">{word}</td><td>{expected}</td><td>{found}</td></tr>'


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    if not counts:
        return ""
    names = list(dict.fromkeys(name for found in counts.values() for name in found))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["", *names])
    rows = "".join(
        f"<tr><th>{html.escape(key)}</th>"
        + "".join(f'<td class="number">{found.get(name, 0):,}</td>' for name in names)
        + "</tr>"
        for key, found in counts.items()
    )
    return f"<h2>Counts</h2><table><tr>{head}</tr>{rows}</table>"
