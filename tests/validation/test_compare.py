import datetime as dt
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.rule_sections import CompareSection
from validation.compare import compare, compare_catalogue
from validation.gate import CRITICAL, WARNING
from validation.profile import QUANTILES, Profile, Values

DAY = dt.date(2024, 3, 4)  # a Monday
COMPARISONS = set(CompareSection.model_fields) - {"days", "stop_after", "min_rows"}
OF_A_PROFILE = COMPARISONS - {"catalogue"}

SPREAD = ("amounts", "quantities")
USUAL = Profile(
    rows=1000,
    users=100,
    items=200,
    busiest=40,
    event_types={"purchase": 100, "view": 900},
    segments={"A": 500, "B": 300, "C": 200},
    amounts=Values(900, (1.0, 2.0, 3.0, 4.0, 6.0, 20.0)),
    quantities=Values(950, (1.0, 1.0, 1.0, 2.0, 2.0, 10.0)),
    known=990,
)


def _history(days, of=lambda day: USUAL):
    return {day: of(day) for day in (DAY - dt.timedelta(days=back) for back in range(1, days + 1))}


def _scaled(values, factor):
    return replace(values, quantiles=tuple(factor * value for value in values.quantiles))


def _of(rows, **other):
    """The usual day with more or fewer rows of each kind."""
    part = rows / USUAL.rows
    types = {name: round(found * part) for name, found in USUAL.event_types.items()}
    counts = {
        name: replace(getattr(USUAL, name), count=round(getattr(USUAL, name).count * part)) for name in SPREAD
    }
    return replace(USUAL, rows=rows, event_types=types, known=round(USUAL.known * part), **counts, **other)


def _named(checks):
    return {check.name.removeprefix(f"{DAY}.compare."): check for check in checks}


def _against(checks):
    return {name for name, check in _named(checks).items() if not check.passed}


def test_a_day_like_those_before_it_is_in_every_band():
    checks = _named(compare(DAY, USUAL, _history(56), CompareSection()))
    assert set(checks) == OF_A_PROFILE
    assert all(check.passed for check in checks.values())
    assert checks["rows"].found == "rows 1,000"
    assert (
        checks["rows"].expected == "rows 667 to 1,500 (usual 1,000, the median of 8 Mondays; the tolerance)"
    )


UNUSUAL = {
    "fewer rows": (_of(600), {"rows"}),
    "users lost": (replace(USUAL, users=60), {"users"}),
    "users as one id each row": (replace(USUAL, users=1000), {"users"}),
    "items lost": (replace(USUAL, items=100), {"items"}),
    "a user with 1,000,000 events": (_of(1_001_000, busiest=1_000_000), {"rows", "busiest_user"}),
    "no purchases": (replace(USUAL, event_types={"view": 1000}), {"event_types"}),
    "a new event type": (
        replace(USUAL, event_types={"purchase": 100, "view": 700, "cart": 200}),
        {"event_types"},
    ),
    "a store missing": (replace(USUAL, segments={"A": 600, "B": 400}), {"segments"}),
    "a store twice as large": (replace(USUAL, segments={"A": 400, "B": 200, "C": 400}), {"segments"}),
    "a new store": (replace(USUAL, segments={"A": 400, "B": 300, "C": 200, "D": 100}), {"segments"}),
    "unknown items": (replace(USUAL, known=700), {"known_items"}),
    "amounts x 2": (replace(USUAL, amounts=_scaled(USUAL.amounts, 2)), {"amounts"}),
    "amounts x 100": (replace(USUAL, amounts=_scaled(USUAL.amounts, 100)), {"amounts", "amount_scale"}),
    "amounts / 100": (replace(USUAL, amounts=_scaled(USUAL.amounts, 0.01)), {"amounts", "amount_scale"}),
    "a third of the amounts in cents": (
        replace(USUAL, amounts=Values(900, (1.0, 2.5, 4.0, 150.0, 400.0, 2000.0))),
        {"amounts", "amount_scale"},
    ),
    "no amounts": (replace(USUAL, amounts=Values(0, ())), {"amounts"}),
    "quantities x 3": (replace(USUAL, quantities=_scaled(USUAL.quantities, 3)), {"quantities"}),
    "quantities / 3": (replace(USUAL, quantities=_scaled(USUAL.quantities, 1 / 3)), {"quantities"}),
    "no rows": (_of(0, users=0, items=0, busiest=0, segments={}), {"rows", "users", "items"}),
}


@pytest.mark.parametrize(("day", "against"), UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_day_is_named_where_it_passed_green(day, against):
    checks = compare(DAY, day, _history(56), CompareSection())
    assert _against(checks) == against
    stopping = {name for name, check in _named(checks).items() if check.severity == CRITICAL}
    assert stopping <= {"amount_scale"}


USUAL_ENOUGH = {
    "fewer events of the busiest user": replace(USUAL, busiest=1),
    "all items known": replace(USUAL, known=1000),
    "a fifth more of all": _of(1200, users=120, items=240, busiest=48),
    "prices up by a fifth": replace(USUAL, amounts=_scaled(USUAL.amounts, 1.2)),
}


@pytest.mark.parametrize("day", USUAL_ENOUGH.values(), ids=USUAL_ENOUGH)
def test_a_day_within_the_tolerance_warns_of_nothing(day):
    assert _against(compare(DAY, day, _history(56), CompareSection())) == set()


def test_a_stop_says_number_band_how_it_was_made_and_what_to_do():
    day = replace(USUAL, amounts=_scaled(USUAL.amounts, 100))
    check = _named(compare(DAY, day, _history(56), CompareSection()))["amount_scale"]
    assert (check.severity, check.passed) == (CRITICAL, False)
    assert check.found == (
        "amount p25 200 (if that is not meant, deliver it again; if it is, raise "
        "compare.amount_scale.tolerance of the data set above 5 or set "
        'compare.amount_scale.action = "warn", and run the day again)'
    )
    assert check.expected == "amount p25 0.4 to 10 (usual 2, the median of 8 Mondays; the tolerance)"


def test_the_first_two_weeks_only_warn():
    day = replace(USUAL, amounts=_scaled(USUAL.amounts, 100))
    early, late = (
        _named(compare(DAY, day, _history(days), CompareSection()))["amount_scale"] for days in (13, 14)
    )
    assert (early.passed, early.severity) == (False, WARNING)
    assert early.expected.endswith("warns only: 13 of 14 days")
    assert (late.passed, late.severity) == (False, CRITICAL)
    at_once = CompareSection(stop_after=0)
    assert _named(compare(DAY, day, _history(3), at_once))["amount_scale"].severity == CRITICAL


def test_a_number_that_few_days_have_only_warns():
    """Twenty days of which three had amounts were enough to stop the fourth."""
    without = replace(USUAL, amounts=Values(0, ()))
    history = _history(20, lambda day: USUAL if (DAY - day).days <= 3 else without)
    day = replace(USUAL, amounts=_scaled(USUAL.amounts, 6))
    check = _named(compare(DAY, day, history, CompareSection()))["amount_scale"]
    assert (check.passed, check.severity) == (False, WARNING)
    assert check.expected.endswith("warns only: 3 of 14 days")


@pytest.mark.parametrize("days", [0, 1, 2])
def test_with_fewer_than_three_days_nothing_is_compared_and_that_is_said(days):
    (check,) = compare(DAY, replace(USUAL, rows=1), _history(days), CompareSection())
    assert (check.name, check.passed, check.severity) == (f"{DAY}.compare.history", True, WARNING)
    assert check.found == f"{days} days"


def test_so_few_rows_say_nothing():
    few = Profile(10, 5, 8, 4, {"purchase": 10}, {"A": 10}, Values(10, (2.5,) * 6), None, 10)
    day = replace(few, amounts=Values(9, (250.0,) * 6), segments={"B": 10}, known=0, busiest=9)
    assert compare(DAY, day, _history(56, lambda _: few), CompareSection()) == []


def test_very_many_rows_after_few_are_seen():
    few = Profile(10, 5, 8, 4)
    assert _against(
        compare(DAY, Profile(5000, 5, 8, 5000), _history(56, lambda _: few), CompareSection())
    ) == {
        "rows",
        "busiest_user",
    }


def test_what_is_not_mapped_is_not_asked():
    plain = Profile(1000, 100, 200, 40)
    assert set(_named(compare(DAY, plain, _history(56, lambda _: plain), CompareSection()))) == {
        "rows",
        "users",
        "items",
        "busiest_user",
    }


def test_what_was_mapped_of_late_is_asked_once_there_are_three_days_of_it():
    plain = Profile(1000, 100, 200, 40)

    def of(newest):
        return lambda day: USUAL if (DAY - day).days <= newest else plain

    day = replace(USUAL, amounts=_scaled(USUAL.amounts, 100))
    assert "amount_scale" not in _named(compare(DAY, day, _history(56, of(2)), CompareSection()))
    assert _named(compare(DAY, day, _history(56, of(3)), CompareSection()))["amount_scale"].passed is False


def test_days_with_too_few_amounts_are_no_history_of_amounts():
    without = replace(USUAL, amounts=Values(0, ()))
    of = {2: USUAL, 3: USUAL}
    history = _history(20, lambda day: of.get((DAY - day).days, without))
    assert "amount_scale" not in _named(compare(DAY, USUAL, history, CompareSection()))
    of[4] = USUAL
    history = _history(20, lambda day: of.get((DAY - day).days, without))
    assert (
        "median of 3 days" in _named(compare(DAY, USUAL, history, CompareSection()))["amount_scale"].expected
    )


def test_a_past_day_is_measured_by_the_other_days_as_today_is():
    history = _history(3, lambda day: replace(USUAL, segments={str(day): 1000}))
    check = _named(compare(DAY, replace(USUAL, segments={"new": 1000}), history, CompareSection()))[
        "segments"
    ]
    assert check.passed
    assert "usual 100.00%" in check.expected


def _quiet_weekend(day):
    return USUAL if day.weekday() < 5 else _of(200)


@pytest.mark.parametrize(("weeks", "of"), [(8, "8 Mondays"), (4, "4 Mondays"), (3, "21 days")])
def test_a_weekday_is_compared_with_its_own_where_there_are_four(weeks, of):
    checks = _named(compare(DAY, USUAL, _history(7 * weeks, _quiet_weekend), CompareSection()))
    assert f"the median of {of};" in checks["rows"].expected


def test_a_quiet_monday_is_unusual_and_a_quiet_sunday_is_not():
    history, quiet = _history(56, _quiet_weekend), _of(200)
    assert "rows" in _against(compare(DAY, quiet, history, CompareSection()))
    sunday = DAY + dt.timedelta(days=6)
    assert all(
        check.passed for check in compare(sunday, quiet, history, CompareSection()) if ".rows" in check.name
    )


def test_a_history_that_varies_makes_a_wide_band_and_one_wild_day_does_not():
    wild = _history(56, lambda day: _of(400 if day.day % 2 else 2500))
    assert _against(compare(DAY, _of(2000), wild, CompareSection())) == set()
    once = _history(56) | {DAY - dt.timedelta(days=10): _of(100_000)}
    assert _against(compare(DAY, _of(2000), once, CompareSection())) == {"rows"}


@pytest.mark.parametrize("factor", [10, 100, 0.1])
@pytest.mark.parametrize("bad", [2, 6])
def test_days_of_a_wrong_unit_in_the_history_do_not_let_others_pass(factor, bad):
    """Two days of cents among the first two weeks widened the band until it bore a factor of 10,000."""
    history = _history(14 if bad == 2 else 56)
    for back in range(1, bad + 1):
        history[DAY - dt.timedelta(days=2 * back)] = replace(USUAL, amounts=_scaled(USUAL.amounts, 100))
    day = replace(USUAL, amounts=_scaled(USUAL.amounts, factor))
    assert "amount_scale" in _against(compare(DAY, day, history, CompareSection()))
    assert "amount_scale" not in _against(compare(DAY, USUAL, history, CompareSection()))


def test_a_week_of_sales_does_not_let_a_wrong_unit_pass():
    cheap = replace(USUAL, amounts=_scaled(USUAL.amounts, 0.4))
    history = _history(21, lambda day: cheap if (DAY - day).days in range(3, 10) else USUAL)
    day = replace(USUAL, amounts=_scaled(USUAL.amounts, 10))
    assert "amount_scale" in _against(compare(DAY, day, history, CompareSection()))
    assert "amount_scale" not in _against(compare(DAY, cheap, history, CompareSection()))


def test_a_past_day_without_rows_ends_no_comparison():
    """It was a division by zero in each night of the next eight weeks."""
    history = _history(20) | {DAY - dt.timedelta(days=3): Profile(0, 0, 0, 0, known=0)}
    assert _named(compare(DAY, USUAL, history, CompareSection()))["known_items"].passed


def test_a_shop_that_doubles_each_month_warns_of_nothing():
    def grown(day):
        factor = 2 ** ((day - DAY).days / 30)
        told = {name: round(getattr(USUAL, name) * factor) for name in ("rows", "users", "items", "busiest")}
        return Profile(**told)

    for day in (DAY + dt.timedelta(days=after) for after in range(28)):
        history = {then: grown(then) for then in (day - dt.timedelta(days=back) for back in range(1, 57))}
        assert all(check.passed for check in compare(day, grown(day), history, CompareSection()))


@pytest.mark.parametrize("name", sorted(OF_A_PROFILE))
def test_each_comparison_can_be_off_warn_or_stop(name):
    places = {
        "rows": 0, "users": 1, "items": 3, "busiest_user": 4, "event_types": 5, "segments": 7,
        "known_items": 10, "amounts": 11, "amount_scale": 12, "quantities": 16,
    }  # fmt: skip
    day = list(UNUSUAL.values())[places[name]][0]
    severities = {}
    for action in ("off", "warn", "stop"):
        config = CompareSection.model_validate({name: {"action": action}})
        found = _named(compare(DAY, day, _history(56), config)).get(name)
        severities[action] = found and (found.severity, found.passed)
    assert severities == {"off": None, "warn": (WARNING, False), "stop": (CRITICAL, False)}


def test_a_tolerance_is_always_borne():
    day = _of(2900, segments={"A": 300, "B": 500, "C": 200})
    borne = CompareSection.model_validate({"rows": {"tolerance": 3}, "segments": {"tolerance": 0.25}})
    checks = _named(compare(DAY, day, _history(56), borne))
    assert checks["rows"].passed
    assert checks["segments"].passed
    assert checks["segments"].found == "rows in other segments than usual (most A: 30.00% for 50.00%): 20.00%"


@pytest.mark.parametrize(
    ("lost", "now", "days", "passed", "severity"),
    [
        (9_233, 83_098, 56, True, CRITICAL),
        (9_234, 83_097, 56, False, CRITICAL),
        (92_321, 10, 14, False, CRITICAL),
        (92_321, 10, 13, False, WARNING),
        (92_331, 92_331, 56, False, CRITICAL),
    ],
    ids=["a tenth", "more", "10 items after 92,331", "in the first two weeks", "other ids"],
)
def test_a_catalogue_that_lost_more_than_a_tenth_stops(lost, now, days, passed, severity):
    check = compare_catalogue(DAY, lost, 92_331, now, days, CompareSection())
    assert (check.passed, check.severity) == (passed, severity)
    assert check.name == f"{DAY}.compare.catalogue"
    assert f"{now:,} items" in check.found
    assert ("raise compare.catalogue.tolerance" in check.found) == (not passed and severity == CRITICAL)


def test_a_planned_shrink_passes_by_its_setting():
    config = CompareSection.model_validate({"catalogue": {"tolerance": 0.5}})
    assert compare_catalogue(DAY, 400, 1000, 600, 56, config).passed
    config = CompareSection.model_validate({"catalogue": {"action": "warn"}})
    assert compare_catalogue(DAY, 400, 1000, 600, 56, config).severity == WARNING


_NOISE = st.lists(st.floats(-0.25, 0.25), min_size=57, max_size=57)


@given(noise=_NOISE, days=st.integers(14, 56), power=st.sampled_from([-2, -1, 1, 2]))
def test_amounts_off_by_ten_stop_always_after_two_weeks(noise, days, power):
    def noisy(place, factor=1.0):
        return replace(USUAL, amounts=_scaled(USUAL.amounts, factor * math.exp(noise[place])))

    history = _history(days, lambda day: noisy((DAY - day).days))
    check = _named(compare(DAY, noisy(0, 10.0**power), history, CompareSection()))["amount_scale"]
    assert (check.passed, check.severity) == (False, CRITICAL)
    assert _named(compare(DAY, noisy(0), history, CompareSection()))["amount_scale"].passed


@given(sizes=st.lists(st.integers(1, 400), min_size=56, max_size=56), order=st.permutations(range(8)))
def test_the_order_of_days_of_one_weekday_changes_nothing(sizes, order):
    def of(day, place):
        back = (DAY - day).days - 1
        size = sizes[(order[back // 7] if place else back // 7) * 7 + back % 7]
        return replace(USUAL, rows=1000 + size, segments={"A": 500, "B": size, "C": 200})

    plain, other = (_history(56, lambda day, place=place: of(day, place)) for place in (0, 1))
    assert compare(DAY, USUAL, plain, CompareSection()) == compare(DAY, USUAL, other, CompareSection())


def test_there_are_six_quantiles():
    assert len(QUANTILES) == len(USUAL.amounts.quantiles)
