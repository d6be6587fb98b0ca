"""A day beside the data set's own last days: each comparison is one check, with the band it was held to.

A band lies around the median of the days before, or of those of the same weekday where there are
four. Its half is twice what 9 of 10 of these days kept to, wider where they are few, and at least
the setting's tolerance. Factors are compared as logarithms, so that ten times and a tenth are alike.
"""

import datetime as dt
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from lake.raw_sections import ByShare, CompareSection, Comparison
from validation.gate import CRITICAL, WARNING, Check, Severity
from validation.profile import Profile
from validation.series import FEWEST_DAYS, HIGH, LOW, History, Series, all_series

_FEWEST_WEEKDAYS: Final = 4
_SPREADS: Final = 2.0
_FEW: Final = 7
"""A spread seen on n days counts 1 + 7/n times: of few days the week-end may be missing."""


@dataclass(frozen=True)
class _Verdict:
    """A series against its band; `strain` is above 1 outside of it, `days` are those that have the number."""

    strain: float
    found: str
    expected: str
    days: int


def compare(day: dt.date, profile: Profile, history: History, config: CompareSection) -> list[Check]:
    """Compare a day with days before it.

    Parameters
    ----------
    day
        Whose profile it is.
    history
        The profiles of the days before that count: committed, not closed, at most `config.days` back.

    Returns
    -------
    list of Check
        One for each comparison that can be made and is not off; of one with several numbers the
        one farthest out.
    """
    if len(history) < FEWEST_DAYS:
        enough = f"{FEWEST_DAYS} days or more to compare with"
        return [Check(f"{day}.compare.history", WARNING, True, f"{len(history)} days", enough)]
    checks = []
    for name, series in all_series(profile, history, config.min_rows).items():
        how: Comparison = getattr(config, name)
        if series and how.action != "off":
            checks.append(_check(day, name, how, _farthest(day, series, how), config))
    return checks


def compare_catalogue(
    day: dt.date, lost: int, before: int, now: int, days: int, config: CompareSection
) -> Check:
    """Compare a new catalogue with the one before.

    Parameters
    ----------
    lost
        How many of its items are missing from the new one.
    before, now
        Their numbers of items.
    days
        Days of history.
    """
    how, share = config.catalogue, lost / before
    found = f"{now:,} items, {share:.2%} of the {before:,} of the catalogue before lost"
    expected = f"at most {how.tolerance:.2%} of its items lost"
    return _check(day, "catalogue", how, _Verdict(share / how.tolerance, found, expected, days), config)


def no_catalogue(day: dt.date, path: str) -> Check:
    """A warning where the data set names a catalogue and none has come yet, perhaps by a wrong path."""
    found = f"none, nor a file {path}; items have no names, and all of them may be listed"
    return Check(f"{day}.compare.catalogue", WARNING, False, found, "a catalogue delivered by then")


def _check(day: dt.date, name: str, how: Comparison, verdict: _Verdict, config: CompareSection) -> Check:
    early = verdict.days < config.stop_after
    severity: Severity = CRITICAL if how.action == "stop" and not early else WARNING
    why = (
        f"; warns only: {verdict.days} of {config.stop_after} days" if how.action == "stop" and early else ""
    )
    passed = verdict.strain <= 1
    told = "" if passed or severity == WARNING else _remedy(name, how)
    return Check(f"{day}.compare.{name}", severity, passed, verdict.found + told, verdict.expected + why)


def _remedy(name: str, how: Comparison) -> str:
    return (
        f" (if that is not meant, deliver it again; if it is, raise compare.{name}.tolerance of the data set "
        f'above {how.tolerance:g} or set compare.{name}.action = "warn", and run the day again)'
    )


def _farthest(day: dt.date, series: Iterable[Series], how: Comparison) -> _Verdict:
    """Of equals the first, whatever their last digit."""
    return max((_judged(day, one, how) for one in series), key=lambda verdict: round(verdict.strain, 9))


def _judged(day: dt.date, series: Series, how: Comparison) -> _Verdict:
    """One number against its band."""
    to, back = (_same, _same) if isinstance(how, ByShare) else (_log, math.exp)
    most = math.inf if series.widest is None else to(series.widest)
    band = _Band.of(day, {then: to(value) for then, value in series.past.items()}, to(how.tolerance), most)
    low, usual, high = (series.words(back(band.usual + side * band.half)) for side in (LOW, 0, HIGH))
    one_sided = {LOW: f"at least {low}", HIGH: f"at most {high}"}
    bounds = one_sided[series.sides[0]] if len(series.sides) == 1 else f"{low} to {high}"
    expected = f"{series.name} {bounds} (usual {usual}, the median of {band.days}; {band.width})"
    strain = max(side * (to(series.today) - band.usual) / band.half for side in series.sides)
    found = f"{series.name} {series.words(series.today)}"
    return _Verdict(strain, found, expected, len(series.past))


def _same(value: float) -> float:
    return value


def _log(value: float) -> float:
    """None at all counts as a half."""
    return math.log(value or 0.5)


@dataclass(frozen=True)
class _Band:
    """What a number is held to: so far from the usual, either way.

    Attributes
    ----------
    days, width
        How `usual` and `half` were made, in words.
    """

    usual: float
    half: float
    days: str
    width: str

    @classmethod
    def of(cls, day: dt.date, past: Mapping[dt.date, float], tolerance: float, most: float) -> "_Band":
        """The band of a day, no wider than the tolerance or `most`, whichever is more."""
        weekdays = _by_weekday(past)
        usual = {weekday: statistics.median(values) for weekday, values in weekdays.items()}
        away = [abs(value - usual[then.weekday()]) for then, value in past.items()]
        kept = statistics.quantiles(away, n=10, method="inclusive")[-1]
        spread = min(_SPREADS * kept * (1 + _FEW / len(past)), most)
        of = len(weekdays[day.weekday()])
        days = f"{of} days" if of == len(past) else f"{of} {day:%A}s"
        width = "the tolerance" if spread <= tolerance else f"twice the spread of {len(past)} days"
        return cls(usual[day.weekday()], max(spread, tolerance), days, width)


def _by_weekday(past: Mapping[dt.date, float]) -> dict[int, list[float]]:
    """What a weekday is compared with: its own days where there are four, else all."""
    own: dict[int, list[float]] = {weekday: [] for weekday in range(7)}
    for day, value in past.items():
        own[day.weekday()].append(value)
    every = list(past.values())
    return {weekday: same if len(same) >= _FEWEST_WEEKDAYS else every for weekday, same in own.items()}
