"""Which numbers of a day are compared with those of the days before."""

import datetime as dt
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from validation.profile import QUANTILES, Profile, Values

FEWEST_DAYS: Final = 3
"""With fewer days of history nothing is compared: a median of two follows each of them."""
LOW: Final = -1
HIGH: Final = 1
_SCALE: Final = (0.25, 0.5, 0.75, 0.9)
"""The quantiles that a wrong unit moves and single rows do not."""
_UNIT: Final = 8.0
"""However unsteady the history, a scale is held to this factor, so that ten times the usual is out."""

History = Mapping[dt.date, Profile]
_Values = Callable[[Profile], Values | None]


@dataclass(frozen=True)
class Series:
    """One number of a day, and of each day before that has it.

    Attributes
    ----------
    name
        What it is, in words.
    words
        How a number is written.
    sides
        Which side of the usual is a fault: `LOW`, `HIGH`.
    widest
        The factor beyond which no history widens the band; None where any may.
    """

    name: str
    today: float
    past: Mapping[dt.date, float]
    words: Callable[[float], str]
    sides: tuple[int, ...] = (LOW, HIGH)
    widest: float | None = None


def all_series(profile: Profile, history: History, least: int) -> dict[str, list[Series]]:
    """The numbers of each comparison, by its name in the section `[compare]`.

    Parameters
    ----------
    least
        A number that rests on fewer rows is left out, both today's and a past one.
    """
    if max(profile.rows, statistics.median(then.rows for then in history.values())) < least:
        return {}
    comparisons = {
        "rows": _counts("rows", profile, history, lambda day: day.rows),
        "users": _counts("users", profile, history, lambda day: day.users),
        "items": _counts("items", profile, history, lambda day: day.items),
        "busiest_user": _counts("rows of one user", profile, history, lambda day: day.busiest, HIGH),
        "event_types": _event_types(profile, history, least),
        "segments": _segments(profile, history),
        "amounts": _spread("amount", profile, history, least, lambda day: day.amounts),
        "quantities": _spread("quantity", profile, history, least, lambda day: day.quantities),
        "amount_scale": (
            replace(series, widest=_UNIT)
            for series in _quantiles("amount", profile, history, least, lambda day: day.amounts, _SCALE)
        ),
        "known_items": _known(profile, history),
    }
    return {name: [s for s in group if len(s.past) >= FEWEST_DAYS] for name, group in comparisons.items()}


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _counts(
    name: str, profile: Profile, history: History, of: Callable[[Profile], int], *sides: int
) -> Iterator[Series]:
    past = {day: float(of(then)) for day, then in history.items()}
    yield Series(name, of(profile), past, _whole, sides or (LOW, HIGH))


def _part(rows: int, profile: Profile) -> float:
    """A part of a day's rows, kept above 0 and below 1, so that it has a logarithm."""
    return (rows + 0.5) / (profile.rows + 1)


def _event_types(profile: Profile, history: History, least: int) -> Iterator[Series]:
    """The share of each event type of which there are enough rows, today or usually."""
    if profile.event_types is None:
        return
    past = {day: then for day, then in history.items() if then.event_types is not None}
    names = set(profile.event_types).union(*(then.event_types or () for then in past.values()))
    for name in sorted(names):
        rows = profile.event_types.get(name, 0)
        shares = {day: _part((then.event_types or {}).get(name, 0), then) for day, then in past.items()}
        usual = statistics.median(shares.values()) if shares else 0
        if max(rows, usual * profile.rows) >= least:
            yield Series(f"share of {name}", _part(rows, profile), shares, _percent)


def _spread(what: str, profile: Profile, history: History, least: int, of: _Values) -> Iterator[Series]:
    """All quantiles of a column, and the share of rows that have a value above 0."""
    yield from _quantiles(what, profile, history, least, of, QUANTILES)
    today = of(profile)
    if today is not None and profile.rows >= least:
        past = {day: _part(values.count, history[day]) for day, values in _mapped(history, of).items()}
        yield Series(f"share of rows with {what}", _part(today.count, profile), past, _percent)


def _quantiles(
    what: str, profile: Profile, history: History, least: int, of: _Values, chosen: tuple[float, ...]
) -> Iterator[Series]:
    today = of(profile)
    if today is None or today.count < least:
        return
    enough = {day: values for day, values in _mapped(history, of).items() if values.count >= least}
    for place, quantile in enumerate(QUANTILES):
        if quantile in chosen:
            past = {day: values.quantiles[place] for day, values in enough.items()}
            yield Series(f"{what} p{quantile * 100:g}", today.quantiles[place], past, _number)


def _mapped(history: History, of: _Values) -> dict[dt.date, Values]:
    return {day: values for day, then in history.items() if (values := of(then)) is not None}


def _known(profile: Profile, history: History) -> Iterator[Series]:
    """The share of rows whose item the catalogue has."""
    if profile.known is None or not profile.rows:
        return
    past = {
        day: then.known / then.rows for day, then in history.items() if then.known is not None and then.rows
    }
    yield Series("rows of items in the catalogue", profile.known / profile.rows, past, _percent, (LOW,))


def _segments(profile: Profile, history: History) -> Iterator[Series]:
    """The share of rows that would have to change their segment for the usual shares.

    A past day is compared with the mean of the other days. The mean of all n days includes the day
    itself and so is nearer to it, by the factor (n - 1) / n.
    """
    past = {day: _shares(then.segments) for day, then in history.items() if then.segments}
    if not profile.segments or len(past) < FEWEST_DAYS:
        return
    usual, today = _mean(past.values()), _shares(profile.segments)
    others = len(past) / (len(past) - 1)
    moved = {day: others * _distance(shares, usual) for day, shares in past.items()}
    most = max(sorted({*today, *usual}), key=lambda name: abs(today.get(name, 0) - usual.get(name, 0)))
    change = f"{most}: {today.get(most, 0):.2%} for {usual.get(most, 0):.2%}"
    name = f"rows in other segments than usual (most {change}):"
    yield Series(name, _distance(today, usual), moved, _percent, (HIGH,))


def _shares(rows: Mapping[str, int]) -> dict[str, float]:
    total = sum(rows.values())
    return {name: count / total for name, count in rows.items()}


def _mean(days: Collection[Mapping[str, float]]) -> dict[str, float]:
    """The mean share of each segment, whatever the order of days."""
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, share in ((name, share) for shares in days for name, share in shares.items()):
        by_name[name].append(share)
    return {name: math.fsum(shares) / len(days) for name, shares in by_name.items()}


def _distance(shares: Mapping[str, float], usual: Mapping[str, float]) -> float:
    """The share of rows that lie where there are more than usual: as many are missing elsewhere."""
    return math.fsum(max(share - usual.get(name, 0), 0) for name, share in shares.items())
