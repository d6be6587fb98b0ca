"""Pages for people: a user's list, and the releases with their gates and metrics.

Names, ids, reasons and metrics are others' texts. They are printed as they are: what stands in
brackets in them is no markup.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from lake.settings import Settings
from nightjar.console import add_row, console
from nightjar_reader import Reader
from nightjar_reader.answers import Recommendations
from nightjar_reader.format import CheckResult, LedgerEntry, Manifest

FALLBACKS = ("personal", "popular in the segment", "popular")
METRICS = ("ndcg", "recall", "hit_rate", "map", "coverage", "novelty")
ENTRIES = 20


def print_list(settings: Settings, user: str, length: int) -> None:
    """Print the first items of a user's list, with what they are."""
    reader = Reader(settings.releases)
    console.print(_list(reader, reader.for_user(user), length))


def _list(reader: Reader, answer: Recommendations, length: int) -> Table:
    kind = FALLBACKS[answer.fallback]
    title = Text(f"user {answer.user_id}: {kind} list of {answer.release_id}", "table.title")
    table = Table(title=title, title_justify="left")
    for name in ("", "item", "what it is", "category", "score"):
        table.add_column(name, justify="right" if name in ("", "score") else "left")
    items = reader.catalogue(answer.items[:length])
    for rank, (item, score) in enumerate(zip(answer.items[:length], answer.scores, strict=False), 1):
        known = items.get(item)
        what, category = (known.name, known.category) if known else (None, None)
        add_row(table, str(rank), str(item), what or "", category or "", f"{score:.4f}")
    return table


def print_releases(settings: Settings) -> None:
    """Print the newest ledger entries, and the current release."""
    reader = Reader(settings.releases)
    console.print(_ledger(reader.releases()[:ENTRIES]))
    print_release(reader)


def _ledger(entries: Sequence[LedgerEntry]) -> Table:
    table = Table(title="ledger, newest first", title_justify="left")
    for name in ("entry", "kind", "release", "as of", "written at", "by", "reason"):
        table.add_column(name, no_wrap=name != "reason", overflow="fold")
    for entry in entries:
        releases = ", ".join(release.release_id for release in entry.releases)
        row = (entry.kind, releases, entry.as_of, entry.written_at[:19], entry.actor, entry.reason)
        add_row(table, str(entry.sequence), *row)
    return table


def print_release(reader: Reader) -> None:
    """Print the current release: what it is, its checks, and the metrics behind its decision."""
    manifest = reader.manifest
    console.print(f"\n[bold]release {reader.release_id}[/bold]")
    for line in _facts(manifest):
        console.print(Text(f"  {line}"))
    console.print(_checks(manifest.checks))
    console.print(_metrics(manifest.metrics))


def _facts(manifest: Manifest) -> list[str]:
    bundle = manifest.bundle
    model = f"{bundle.outcome}, bundle {bundle.id[:12]} as of {bundle.as_of}" if bundle else "no bundle"
    index = manifest.index
    search = f"{index.trees} trees, recall {index.recall:.3f}" if index else "left out"
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(manifest.counts.items()))
    return [
        f"decision: {model}",
        f"lists by: {manifest.baseline or 'the ranker'}" if bundle else "lists by: baseline",
        f"holds: {counts}",
        f"index: {search}",
        *(f"warning: {text}" for text in manifest.warnings),
    ]


def _checks(checks: Sequence[CheckResult]) -> Table:
    table = Table(title="gate", title_justify="left")
    for name in ("check", "severity", "result"):
        table.add_column(name)
    for check in checks:
        result = Text("passed", "green") if check.passed else Text("failed", "red")
        add_row(table, check.name, check.severity, result)
    return table


def _metrics(metrics: Mapping[str, Any]) -> Table:
    """The contestants beside each other, best first; the NDCG with its 95% interval.

    The format of releases leaves metrics to whoever writes them. What is not of our shape is left
    blank; a contestant that is no table of metrics is shown in its own cell.
    """
    title = "offline metrics of the decision" if metrics else "the decision was not evaluated"
    table = Table(title=title, title_justify="left")
    table.add_column("model", no_wrap=True)
    for name in METRICS:
        table.add_column(name, justify="right", no_wrap=True)
    for model in sorted(metrics, key=lambda name: (-_order(metrics[name]), name)):
        estimates = metrics[model]
        if isinstance(estimates, Mapping):
            add_row(table, model, *(_shown(name, estimates.get(name)) for name in METRICS))
        else:
            add_row(table, f"{model}: {estimates}")
    return table


def _order(metrics: Any) -> float:
    ndcg = _number(metrics.get("ndcg") if isinstance(metrics, Mapping) else None)
    return -math.inf if ndcg is None else ndcg


def _number(estimate: Any, part: str = "value") -> float | None:
    """A part of an estimate; the value may stand alone."""
    parts = estimate if isinstance(estimate, Mapping) else {"value": estimate}
    value = parts.get(part)
    return value if isinstance(value, int | float) else None


def _shown(name: str, estimate: Any) -> str:
    value, low, high = (_number(estimate, part) for part in ("value", "low", "high"))
    if value is None:
        return ""
    interval = name == "ndcg" and low is not None and high is not None
    return f"{value:.4f} [{low:.4f}, {high:.4f}]" if interval else f"{value:.4f}"
