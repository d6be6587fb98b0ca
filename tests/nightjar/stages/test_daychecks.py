import datetime as dt
from types import SimpleNamespace

import pytest

from lake.rule_sections import RulesSection
from nightjar.stages import daychecks
from spark_jobs.plans import ExtractResult, RawFile

DAY = dt.date(2024, 1, 1)
COUNTS = {"read": 100, "clean": 100, "bad": 0, "duplicate": 0, "ignored": 0, "return": 0}


def _checks(samples=None, hours=None, rules=None, closed=(), lacking=(), **counts):
    result = ExtractResult({}, {DAY: COUNTS | counts}, {DAY: hours or {}}, {DAY: samples or {}})
    data = SimpleNamespace(
        rules=rules or RulesSection(), raw=SimpleNamespace(is_closed=closed.__contains__), zone="UTC"
    )
    found = daychecks.check_counts(DAY, result, data, lacking)
    return {check.name.removeprefix(f"{DAY}."): check for check in found}


def test_a_day_that_is_fine_passes():
    assert all(check.passed for check in _checks().values())


def test_a_closed_day_may_be_empty():
    assert _checks(read=0, clean=0, closed=[DAY]) == {}
    assert not _checks(read=0, clean=0)["row_count"].passed


def test_a_closed_day_may_have_a_few_late_rows():
    """None at all were fine, and three were too few."""
    assert _checks(read=3, clean=3, closed=[DAY], rules=RulesSection(min_rows=50))["row_count"].passed
    assert not _checks(read=3, clean=3, rules=RulesSection(min_rows=50))["row_count"].passed


def test_a_refusal_tells_each_reason_with_its_first_row_and_what_to_do():
    samples = {"event_ts_unreadable": 'row 3 of events/x.csv: "30/09/2017"'}
    check = _checks(samples, clean=97, bad=3, bad_event_ts_unreadable=2, bad_user_id_missing=1)["bad_share"]
    assert not check.passed
    assert check.found.startswith(
        '3.00% (3 of 100): 2 event_ts_unreadable (row 3 of events/x.csv: "30/09/2017"), 1 user_id_missing; '
        "stamps are read as 2017-09-30T10:00:00+02:00"
    )


def test_a_refusal_says_once_which_events_need_numbers():
    """Nothing said what to do about quantity_missing and amount_missing."""
    found = _checks(clean=0, bad=100, bad_quantity_missing=100, bad_amount_missing=100)["bad_share"].found
    assert found.count("only events of events.labels need a quantity and an amount") == 1


def test_ignored_rows_do_not_stretch_the_budgets():
    """90 bad rows of 100 were committed beside 9,900 heartbeats, as 0.90 % of all; 60 returns too."""
    counts = {"read": 10_000, "ignored": 9_900}
    check = _checks(**counts, clean=10, bad=90, bad_user_id_missing=90)["bad_share"]
    assert (check.passed, check.found[:44]) == (False, "90.00% (90 of 100 that are not ignored): 90 ")
    check = _checks(**counts, clean=40, **{"return": 60})["return_share"]
    assert (check.passed, check.found) == (False, "60.00% (60 of 100 that are not ignored)")
    assert _checks(read=100, ignored=100, clean=0)["bad_share"].passed


def test_what_nobody_wants_does_not_stretch_the_budgets_either():
    counts = {"read": 10_000, "ignored": 100, "excluded": 9_000, "bot": 800, "netted": 0}
    check = _checks(**counts, clean=10, bad=90, bad_user_id_missing=90)["bad_share"]
    told = "90.00% (90 of 100 that are not ignored or excluded or bot): 90"
    assert (check.passed, check.found[: len(told)]) == (False, told)
    found = _checks({"user_id_busy": "1 users: ann"}, **counts)["bots"]
    assert (found.severity, found.passed, found.found) == ("warning", False, "800 rows (1 users: ann)")
    assert _checks(bot=0)["bots"].passed


def test_returns_do_not_use_up_the_budget_for_faults():
    checks = _checks(clean=70, **{"return": 30})
    assert all(check.passed for check in checks.values())
    checks = _checks(clean=70, rules=RulesSection(max_return_share=0.2), **{"return": 30})
    assert [name for name, check in checks.items() if not check.passed] == ["return_share"]


def test_rounded_numbers_are_a_warning_with_a_sample():
    check = _checks({"amount_rounded": 'row 1 of f: "1.239"'}, rounded_amount=2)["amount_exact"]
    assert (check.severity, check.passed) == ("warning", False)
    assert check.found == '2 that were rounded (row 1 of f: "1.239")'


def test_copies_that_disagree_and_a_key_that_no_row_has_are_warnings():
    assert "copies_agree" not in _checks()
    fine = {"conflicting": 0, "unnamed": 99, "clean": 98, "duplicate": 2}
    assert all(check.passed for check in _checks(**fine).values())
    samples = {"event_key_conflicting": "row 4 of f: {}; row 1 of f came first"}
    checks = _checks(samples, **fine | {"conflicting": 1, "unnamed": 100})
    assert [name for name, check in checks.items() if not check.passed] == ["copies_agree", "event_key"]
    assert {checks[name].severity for name in ("copies_agree", "event_key")} == {"warning"}
    assert checks["copies_agree"].found.endswith("(row 4 of f: {}; row 1 of f came first)")
    assert checks["event_key"].found == "100 of 100 rows that lack a part of it"


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (dict.fromkeys(range(4, 28), 10), "from +4:00"),  # New York in summer
        (dict.fromkeys(range(-9, 15), 10), "from -9:00"),  # Tokyo
        (dict.fromkeys(range(24), 10), None),
        (dict.fromkeys(range(48), 10), None),
        ({30: 1} | dict.fromkeys(range(24), 10), None),
        ({}, None),
    ],
)
def test_a_local_day_is_told_as_one(hours, told):
    found = _checks(hours=hours, clean=80, bad=20, bad_event_ts_outside_day=20)["bad_share"].found
    assert ("of the UTC day on, as those of another zone's day do: set zone, now 'UTC', to" in found) is (
        told is not None
    )
    assert (told or "") in found


def test_counts_are_one_line():
    counts = COUNTS | {"read": 1200, "bad": 2, "bad_user_id_missing": 2, "bad_item_id_missing": 0}
    counts |= {"rounded_amount": 3, "catalogue_read": 5, "catalogue_clean": 5, "catalogue_bad": 0}
    assert daychecks.describe(counts) == (
        "1,200 rows read, 100 clean, 2 bad (2 user_id_missing), 0 duplicate, 0 ignored, 0 return, "
        "3 rounded amount; catalogue: 5 rows read, 5 clean, 0 bad"
    )
    assert daychecks.describe(COUNTS | {"excluded": 7, "netted": 2}).endswith(
        "0 return, 7 excluded, 2 netted"
    )


def test_a_column_that_no_file_has_is_named_as_the_reason():
    """All rows lacked an amount, and nothing said that the column was not there."""
    files = [
        RawFile("a", DAY, 5, 1, "", "", (), absent=("paid", "store")),
        RawFile("b", DAY, 5, 1, "", "", (), absent=("paid",)),
        RawFile("empty", DAY, 0, 1, "", "", ()),
    ]
    assert daychecks.absent(files) == ["paid"]
    assert daychecks.absent([]) == []
    found = _checks(bad=100, clean=0, bad_amount_missing=100, lacking=daychecks.absent(files))
    assert found["bad_share"].found.endswith("; no file has paid")
    (check,) = daychecks.check_columns(DAY, ["paid"])
    assert (check.severity, check.found) == ("warning", "none has paid, which is null in all rows")
    assert daychecks.check_columns(DAY, []) == []


def test_hours_that_were_missing_are_named():
    (check,) = daychecks.check_hours(DAY, ["03", "17"])
    assert (check.name, check.severity, check.found) == (f"{DAY}.hours", "warning", "none of 03, 17")
    assert daychecks.check_hours(DAY, []) == []
