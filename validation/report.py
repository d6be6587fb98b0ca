"""A validation's result as JSON and as a page that anyone can read, kept beside the records."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lake import layout
from lake.ledger import encode
from lake.storage import Storage
from validation.gate import Check, failed

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1c2430 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #d8dee6; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.passed { color: #1a7f37 } .failed { color: #b42318; font-weight: 600 }
.warned { color: #9a6700; font-weight: 600 }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<table>
<tr><th>Check</th><th>Result</th><th>Expected</th><th>Found</th></tr>
{% for check in checks -%}
{% set word = "passed" if check.passed else "warned" if check.severity == "warning" else "failed" -%}
<tr><td>{{ check.name }}</td><td class="{{ word }}">{{ word }}</td>\
<td>{{ check.expected }}</td><td>{{ check.found }}</td></tr>
{% endfor -%}
</table>
{% if counts -%}
<h2>Counts</h2>
<table>
<tr><th></th>{% for name in names %}<th>{{ name }}</th>{% endfor %}</tr>
{% for key, row in counts.items() -%}
<tr><th>{{ key }}</th>\
{% for name in names %}<td class="number">{{ "{:,}".format(row.get(name, 0)) }}</td>{% endfor %}</tr>
{% endfor -%}
</table>
{% endif -%}
</body>
</html>
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
        "counts": {name: dict(row) for name, row in counts.items()},
    }
    page = layout.report(stage, day, attempt, "html")
    storage.put_new(layout.report(stage, day, attempt, "json"), encode(content))
    storage.put_new(page, _page(f"{stage} of {day}: {verdict}", checks, counts).encode())
    return storage.uri(page)


def _page(title: str, checks: Sequence[Check], counts: Mapping[str, Mapping[str, int]]) -> str:
    """The page; failed checks come first."""
    from jinja2 import Environment

    page = Environment(autoescape=True).from_string(_PAGE)
    order = sorted(checks, key=lambda check: (check.passed, check.severity, check.name))
    names = list(dict.fromkeys(name for row in counts.values() for name in row))
    return page.render(title=title, checks=order, counts=counts, names=names)
