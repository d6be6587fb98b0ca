"""The checks of one raw day's counts, and the counts in words."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from lake.dataset import Dataset
from lake.rule_sections import RulesSection
from spark_jobs.plans import ExtractResult, RawFile
from validation.gate import CRITICAL, WARNING, Check
from validation.rules import BOT, CONFLICTING

Counts = Mapping[str, int]

CATALOGUE: Final = "catalogue_"
BAD_SHARE: Final = ".bad_share"
"""What the name of the check of bad rows ends with."""
_LEFT_OUT: Final = ("ignored", "excluded", "bot")
"""The kinds of rows that nobody wants, however many there are."""
_MOST: Final = 0.98  # a few stamps of a shifted day may be wrong by themselves
_DAY_HOURS: Final = 24

# What to do about a reason, by what its name ends with.
_HINTS: Final[dict[str | tuple[str, ...], str]] = {
    "event_ts_unreadable": "stamps are read as 2017-09-30T10:00:00+02:00, with or without zone, T or "
    "seconds; raw.stamps names any other form, such as epoch_ms or %d.%m.%Y %H:%M",
    "_written_as_float": "123.0 would be another id than 123: write ids as whole numbers, "
    "set floats = 'whole' in rules.user_ids or rules.item_ids, or rules.float_ids = 'keep'",
    "_sentinel": "rules.sentinels lists what stands for nobody",
    ("quantity_missing", "amount_missing"): "only events of events.labels need a quantity and an amount: "
    "write 0 where one has none, or leave the column out of raw.columns",
    "event_type_unknown": "name it in events.weights, or in events.ignore",
    "_out_of_bounds": "rules.max_quantity, rules.max_amount and rules.max_id_length are the bounds",
    "_id_out_of_bounds": "an id has no quotes around it and nothing in it that nobody sees",
    "malformed": "the row has other fields than the file's head, or the line is not one JSON object",
}


def check_counts(
    day: dt.date, made: ExtractResult, data: Dataset, lacking: Sequence[str] = ()
) -> list[Check]:
    """Check a day's rows, faults, returns and rounded numbers; a closed day may have few rows.

    Parameters
    ----------
    lacking
        The mapped columns that no file has (`absent`), which may be why rows are bad.
    """
    counts, samples, rules = made.counts[day], made.samples.get(day, {}), data.rules
    is_closed = data.raw.is_closed(day)
    if not counts["read"] and is_closed:
        return []
    why = _shift(made.hours.get(day, {}), data.zone) if counts.get("bad_event_ts_outside_day") else ""
    why += f"; no file has {', '.join(lacking)}" if lacking else ""
    return [
        _check_rows(day, counts, 0 if is_closed else rules.min_rows, rules.max_rows),
        _check_bad(f"{day}", counts, _describe_bad(counts, samples) + why, rules.max_bad_share),
        _check_returns(day, counts, rules),
        *_check_rounded(day, counts, samples),
        *_check_copies(day, counts, samples),
        *_check_bots(day, counts, samples),
    ]


def check_hours(day: dt.date, missing: Sequence[str]) -> list[Check]:
    """Warn of a day that was taken in without some hours; nothing where it has all."""
    expected = "files of all hours; once they are there, run the day again"
    return (
        [Check(f"{day}.hours", WARNING, False, f"none of {', '.join(missing)}", expected)] if missing else []
    )


def absent(files: Sequence[RawFile]) -> list[str]:
    """The mapped columns that no file with rows has."""
    lacks = [set(file.absent) for file in files if file.rows]
    return sorted(set.intersection(*lacks)) if lacks else []


def check_columns(day: dt.date, lacking: Sequence[str]) -> list[Check]:
    """Warn of mapped columns that no file of a day has (`absent`)."""
    found = f"none has {', '.join(lacking)}, which is null in all rows"
    expected = "files with all columns that raw.columns maps"
    return [Check(f"{day}.columns", WARNING, False, found, expected)] if lacking else []


def check_items(day: dt.date, made: ExtractResult, rules: RulesSection) -> Check:
    """Check the share of bad rows in the catalogue that came on a day."""
    counts = {
        name.removeprefix(CATALOGUE): n for name, n in made.counts[day].items() if name.startswith(CATALOGUE)
    }
    reasons = _describe_bad(counts, made.samples.get(day, {}))
    return _check_bad(f"catalogue.{day}", counts, reasons, rules.max_bad_catalogue_share)


def _check_rows(day: dt.date, counts: Counts, least: int, most: int) -> Check:
    passed = least <= counts["clean"] <= most
    expected = f"{least} to {most} clean rows"
    return Check(f"{day}.row_count", CRITICAL, passed, f"{counts['clean']}", expected)


def _check_bad(of: str, counts: Counts, reasons: str, most: float) -> Check:
    share = _share(counts, "bad")
    return Check(f"{of}{BAD_SHARE}", CRITICAL, share <= most, reasons, f"at most {most:.2%} bad rows")


def _describe_bad(counts: Counts, samples: Mapping[str, str]) -> str:
    """Share and number of bad rows, then each reason with its first row and what to do."""
    reasons = {name.removeprefix("bad_"): n for name, n in counts.items() if name.startswith("bad_") and n}
    each = ", ".join(f"{n} {name}{_example(samples.get(name))}" for name, n in reasons.items())
    hints = [hint for end, hint in _HINTS.items() if any(name.endswith(end) for name in reasons)]
    return "; ".join([_describe_share(counts, "bad") + (f": {each}" if each else ""), *hints])


def _share(counts: Counts, kind: str) -> float:
    """The share of one kind among the rows that are not left out; of the others any number is fine."""
    return counts[kind] / max(_judged(counts), 1)


def _judged(counts: Counts) -> int:
    return counts["read"] - sum(counts.get(kind, 0) for kind in _LEFT_OUT)


def _describe_share(counts: Counts, kind: str) -> str:
    left_out = [kind for kind in _LEFT_OUT if counts.get(kind)]
    rest = f" that are not {' or '.join(left_out)}" if left_out else ""
    return f"{_share(counts, kind):.2%} ({counts[kind]} of {_judged(counts)}{rest})"


def _example(sample: str | None) -> str:
    return f" ({sample})" if sample else ""


def _shift(hours: Mapping[int, int], zone: str) -> str:
    """A hint where nearly all stamps lie in 24 hours that begin before or after the day does; else empty."""
    total = sum(hours.values())
    inside = {
        start: sum(n for hour, n in hours.items() if start <= hour < start + _DAY_HOURS)
        for start in range(-_DAY_HOURS, _DAY_HOURS + 1)
    }
    best = max(inside, key=lambda start: (inside[start], -abs(start)))
    if best == 0 or inside[best] < _MOST * total or inside[0] == inside[best]:
        return ""
    return (
        f"; {inside[best] / total:.1%} of the stamps lie in the 24 hours from {best:+d}:00 of the {zone} day "
        f"on, as those of another zone's day do: set zone, now {zone!r}, to the one whose days the files are "
        "of; if the stamps name no zone and are of another one, set raw.timezone"
    )


def _check_returns(day: dt.date, counts: Counts, rules: RulesSection) -> Check:
    passed = _share(counts, "return") <= rules.max_return_share
    expected = f"at most {rules.max_return_share:.2%} rows of negative quantity or amount"
    return Check(f"{day}.return_share", CRITICAL, passed, _describe_share(counts, "return"), expected)


def _check_rounded(day: dt.date, counts: Counts, samples: Mapping[str, str]) -> list[Check]:
    """A warning for each column with numbers of more decimals than it holds."""
    rounded = {name.removeprefix("rounded_"): n for name, n in counts.items() if name.startswith("rounded_")}
    return [
        Check(
            f"{day}.{column}_exact",
            WARNING,
            not n,
            f"{n} that were rounded{_example(samples.get(f'{column}_rounded'))}",
            "numbers that the column holds exactly",
        )
        for column, n in rounded.items()
    ]


def _check_copies(day: dt.date, counts: Counts, samples: Mapping[str, str]) -> list[Check]:
    """Warnings about a key of events: copies that disagree, and a key that no row has."""
    if "conflicting" not in counts:
        return []
    conflicting, unnamed, rows = (
        counts["conflicting"],
        counts["unnamed"],
        counts["clean"] + counts["duplicate"],
    )
    found = f"{conflicting} that say something else{_example(samples.get(CONFLICTING))}"
    return [
        Check(f"{day}.copies_agree", WARNING, not conflicting, found, "copies that say what the first says"),
        Check(
            f"{day}.event_key",
            WARNING,
            unnamed < max(rows, 1),
            f"{unnamed} of {rows} rows that lack a part of it",
            "rows that have all columns of raw.event_key; one that lacks any is known by its whole row",
        ),
    ]


def _check_bots(day: dt.date, counts: Counts, samples: Mapping[str, str]) -> list[Check]:
    """A warning that names the users who are left out as bots."""
    if "bot" not in counts:
        return []
    found = f"{counts['bot']} rows{_example(samples.get(BOT))}"
    return [Check(f"{day}.bots", WARNING, not counts["bot"], found, "no user of far more rows than others")]


def describe(counts: Counts) -> str:
    """Describe the counts of a day, or the sum of many days, in one line."""
    names = ("clean", "bad", "duplicate", "ignored", "return", "excluded", "bot", "netted", "smaller")
    events = _line({name: n for name, n in counts.items() if not name.startswith(CATALOGUE)}, names)
    items = {name.removeprefix(CATALOGUE): n for name, n in counts.items() if name.startswith(CATALOGUE)}
    return events + (f"; catalogue: {_line(items, names)}" if items else "")


def _line(counts: Counts, names: tuple[str, ...]) -> str:
    reasons = [f"{n:,} {k.removeprefix('bad_')}" for k, n in counts.items() if k.startswith("bad_") and n]
    parts = [f"{counts['read']:,} rows read"]
    for name in names:
        why = f" ({', '.join(reasons)})" if name == "bad" and reasons else ""
        parts += [f"{counts[name]:,} {name}{why}"] if name in counts else []
    rounded = [f"{n:,} {k.replace('_', ' ')}" for k, n in counts.items() if k.startswith("rounded_") and n]
    return ", ".join([*parts, *rounded])
