"""A day compared with the data set's own last days: each comparison is one check, which names its band.

A band lies around the median of the days before, or of those of the same weekday where there are
four. Half its width is twice the distance that 9 of 10 past days kept from their medians, more where
days are few, and at least the setting's tolerance. Factors are compared as logarithms, so that ten
times and a tenth are alike.
"""

import datetime as dt
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lake.rule_sections import ByShare, CompareSection, Comparison
from validation.gate import CRITICAL, WARNING, Check, Severity
from validation.profile import Profile
from validation.series import FEWEST_DAYS, HIGH, LOW, History, Series, all_series

_FEWEST_WEEKDAYS: Final = 4  # the median of fewer would follow single days
_SPREADS: Final = 2.0  # 1 in 10 past days lies beyond one spread, and was no fault
_FEW: Final = 7
"""A spread of n days counts 1 + 7/n times, as few days may lack a week-end."""


@dataclass(frozen=True)
class _Verdict:
    """A series against its band: `strain` is above 1 outside of it, `days` counts those with the number."""

    strain: float
    found: str
    expected: str
    days: int


def compare(day: dt.date, profile: Profile, history: History, config: CompareSection) -> list[Check]:
    """Compare a day with days before it.

    Parameters
    ----------
    day
        The day of the profile.
    history
        The profiles of the days before that count: committed, not closed, at most `config.days` back.

    Returns
    -------
    list of Check
        One for each comparison that can be made and is not off; where it has several numbers, for
        the one farthest out.
    """
    if len(history) < FEWEST_DAYS:
        enough = f"{FEWEST_DAYS} days or more to compare with"
        return [Check(f"{day}.compare.history", WARNING, True, f"{len(history)} days", enough)]
    checks = []
    for name, series in all_series(profile, history, config.min_rows).items():
        how: Comparison = getattr(config, name)
        if series and how.action != "off":
            verdicts = (_judge(day, number, how) for number in series)
            # of those that are equal but for rounding, the first
            farthest = max(verdicts, key=lambda verdict: round(verdict.strain, 9))
            checks.append(_check(day, name, how, farthest, config))
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
    """A warning that the data set names a catalogue and none has come yet; its path may be wrong."""
    found = f"none, nor a file {path}; items have no names, and all of them may be listed"
    return Check(f"{day}.compare.catalogue", WARNING, False, found, "a catalogue delivered by then")


def _check(day: dt.date, name: str, how: Comparison, verdict: _Verdict, config: CompareSection) -> Check:
    early = verdict.days < config.stop_after
    severity: Severity = CRITICAL if how.action == "stop" and not early else WARNING
    why = (
        f"; warns only: {verdict.days} of {config.stop_after} days" if how.action == "stop" and early else ""
    )
    passed = verdict.strain <= 1
    remedy = "" if passed or severity == WARNING else _remedy(name, how)
    return Check(f"{day}.compare.{name}", severity, passed, verdict.found + remedy, verdict.expected + why)


def _remedy(name: str, how: Comparison) -> str:
    return (
        f" (if that is not meant, deliver it again; if it is, raise compare.{name}.tolerance of the data set "
        f'above {how.tolerance:g} or set compare.{name}.action = "warn", and run the day again)'
    )


def _judge(day: dt.date, series: Series, how: Comparison) -> _Verdict:
    """One number against its band."""
    to, back = (_identity, _identity) if isinstance(how, ByShare) else (_log, math.exp)
    most = math.inf if series.widest is None else to(series.widest)
    band = _Band.of(day, {then: to(value) for then, value in series.past.items()}, to(how.tolerance), most)
    low, usual, high = (series.words(back(band.usual + side * band.half)) for side in (LOW, 0, HIGH))
    one_sided = {LOW: f"at least {low}", HIGH: f"at most {high}"}
    bounds = one_sided[series.sides[0]] if len(series.sides) == 1 else f"{low} to {high}"
    expected = f"{series.name} {bounds} (usual {usual}, the median of {band.days}; {band.width})"
    strain = max(side * (to(series.today) - band.usual) / band.half for side in series.sides)
    found = f"{series.name} {series.words(series.today)}"
    return _Verdict(strain, found, expected, len(series.past))


def _identity(value: float) -> float:
    return value


def _log(value: float) -> float:
    """The logarithm; of 0 that of a half, since 0 has none."""
    return math.log(value or 0.5)


@dataclass(frozen=True)
class _Band:
    """How far a number may be from the usual, either way.

    Attributes
    ----------
    days, width
        In words: the days of which `usual` is the median, and what `half` follows.
    """

    usual: float
    half: float
    days: str
    width: str

    @classmethod
    def of(cls, day: dt.date, past: Mapping[dt.date, float], tolerance: float, most: float) -> "_Band":
        """The band of a day, no wider than the larger of tolerance and `most`."""
        weekdays = _by_weekday(past)
        usual = {weekday: statistics.median(values) for weekday, values in weekdays.items()}
        away = [abs(value - usual[then.weekday()]) for then, value in past.items()]
        kept = statistics.quantiles(away, n=10, method="inclusive")[-1]
        spread = min(_SPREADS * kept * (1 + _FEW / len(past)), most)
        count = len(weekdays[day.weekday()])
        days = f"{count} days" if count == len(past) else f"{count} {day:%A}s"
        width = "the tolerance" if spread <= tolerance else f"twice the spread of {len(past)} days"
        return cls(usual[day.weekday()], max(spread, tolerance), days, width)


def _by_weekday(past: Mapping[dt.date, float]) -> dict[int, list[float]]:
    """The past values that each weekday is compared with: its own where there are four, else all."""
    own: dict[int, list[float]] = {weekday: [] for weekday in range(7)}
    for day, value in past.items():
        own[day.weekday()].append(value)
    every = list(past.values())
    return {weekday: same if len(same) >= _FEWEST_WEEKDAYS else every for weekday, same in own.items()}
