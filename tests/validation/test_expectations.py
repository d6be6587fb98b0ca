import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest

from lake.feature_spec import FEATURES
from lake.raw_sections import CatalogueColumns, EventsSection, RawSection
from lake.rule_sections import RulesSection
from lake.schemas import arrow_schema
from validation import expectations
from validation.counts import Tally, in_batches
from validation.expectations import (
    check_catalogue,
    check_interactions,
    check_lists,
    judge,
    judge_each,
    not_empty,
    run_suite,
    tally_features,
)
from validation.rules import Expectation, between, not_null, unique

DAY = dt.date(2024, 1, 1)
INT64 = pa.int64()
RULED = SimpleNamespace(
    id_type="int64",
    zone="UTC",
    events=EventsSection(default="buy", weights={"buy": 1.0, "view": 0.1}, labels=("buy",)),
    rules=RulesSection(max_amount=5),
    raw=RawSection(
        files="{partition}",
        format="csv",
        columns={"user_id": "u", "item_id": "i", "event_ts": "t", "quantity": "q", "amount": "a"},
    ),
)


def _failed(checks):
    return {check.name for check in checks if not check.passed}


def test_results_come_in_the_order_asked_and_say_what_was_found():
    frame = pa.table({"a": [1, 2, -3], "b": ["x", None, "x"]})
    checks = run_suite(
        in_batches(frame), [unique("b"), between("a", 0), not_null("b", "warning"), unique("a", "b")]
    )
    assert [(check.name, check.passed) for check in checks] == [
        ("b_unique", False),
        ("a_in_bounds", False),
        ("b_present", False),
        ("a_b_unique", True),
    ]
    assert checks[1].found == "1 of 3 rows against it (-3)"
    assert (checks[2].severity, checks[2].found) == ("warning", "1 of 3 rows against it (None)")


def test_an_expectation_about_a_column_that_is_not_there_has_failed():
    (check,) = run_suite(in_batches(pa.table({"a": [1]})), [not_null("b")])
    assert (check.passed, check.found) == (False, "1 rows without this column")


def test_a_rule_without_a_result_has_failed():
    check = expectations._check(Tally(between("a", 0), 5, 0), None)
    assert (check.passed, check.found) == (False, "no result")


def test_the_verdict_is_of_great_expectations(monkeypatch):
    """A count that it finds no fault with passes; it alone decides."""
    from great_expectations.expectations import ExpectColumnMaxToBeBetween

    made = []
    ask = ExpectColumnMaxToBeBetween._validate

    def watched(self, *arguments, **named):
        made.append(self.column)
        return ask(self, *arguments, **named)

    monkeypatch.setattr(ExpectColumnMaxToBeBetween, "_validate", watched)
    rules = [between("a", 0), not_null("a"), unique("a")]
    checks = judge([Tally(rule, 9, against) for rule, against in zip(rules, (0, 3, 0), strict=True)])
    assert [check.passed for check in checks] == [True, False, True]
    assert sorted(made) == ["0", "1", "2"]


def test_many_tables_are_judged_at_once_and_each_gets_its_own_checks():
    good, bad = Tally(between("a", 0), 2, 0), Tally(between("a", 0), 2, 1, (-1,))
    found = judge_each({"x": [good], "none": [], "y": [bad, good]})
    assert {key: [check.passed for check in checks] for key, checks in found.items()} == {
        "x": [True],
        "none": [],
        "y": [False, True],
    }
    assert found["y"][0].found == "1 of 2 rows against it (-1)"


def _interactions(**changes):
    noon = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    good = {"user_id": 1, "item_id": 2, "event_ts": noon, "event_type": "buy"}
    good |= {"quantity": Decimal("0.000"), "amount": Decimal("1.00")}
    frame = pa.Table.from_pylist([good, good | changes], schema=arrow_schema("interactions", "int64"))
    return frame.append_column("landed", pa.array([DAY, DAY], pa.date32()))


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, set()),
        ({"user_id": None}, {"user_id_present"}),
        ({"item_id": None}, {"item_id_present"}),
        ({"event_ts": dt.datetime(2024, 1, 2, tzinfo=dt.UTC)}, {"days_late_in_bounds"}),
        ({"event_ts": dt.datetime(2023, 12, 31, 23, tzinfo=dt.UTC)}, {"days_late_in_bounds"}),
        ({"event_ts": None}, {"event_ts_present"}),
        ({"event_type": "gift"}, {"event_type_known"}),
        ({"quantity": Decimal("-0.001")}, {"quantity_in_bounds"}),
        ({"amount": None}, {"amount_present"}),
        ({"amount": None, "quantity": None, "event_type": "view"}, set()),  # refused each such day
        ({"amount": Decimal("5.01"), "event_type": "view"}, {"amount_in_bounds"}),
        ({"amount": Decimal("5.01")}, {"amount_in_bounds"}),
    ],
)
def test_interactions(changes, failed):
    assert _failed(check_interactions(in_batches(_interactions(**changes)), RULED)) == failed


@pytest.mark.parametrize(
    ("stamp", "failed"),
    [
        ("2024-01-01T05:00:00", set()),
        ("2024-01-02T04:59:59.999999", set()),
        ("2024-01-01T04:59:59.999999", {"days_late_in_bounds"}),
        ("2024-01-02T05:00:00", {"days_late_in_bounds"}),
        (None, {"event_ts_present"}),
    ],
)
def test_days_late_are_those_of_the_zone(stamp, failed):
    at = stamp and dt.datetime.fromisoformat(stamp).replace(tzinfo=dt.UTC)
    zoned = SimpleNamespace(**vars(RULED) | {"zone": "America/New_York"})
    assert _failed(check_interactions(in_batches(_interactions(event_ts=at)), zoned)) == failed


def test_what_is_asked_of_labels_only_says_so():
    checks = {check.name: check for check in check_interactions(in_batches(_interactions()), RULED)}
    assert checks["amount_present"].expected == "ColumnValuesToNotBeNull(column=amount), event_type being buy"
    assert checks["event_ts_present"].expected == "ColumnValuesToNotBeNull(column=event_ts)"
    columns = _interactions().drop_columns(["event_type"])
    assert "amount_present" in _failed(check_interactions(in_batches(columns), RULED))


def test_no_interactions_at_all_break_no_row_rule():
    assert _failed(check_interactions(in_batches(_interactions().slice(0, 0)), RULED)) == set()


def test_catalogue():
    frame = pa.table({"item_id": ["a", "a"], "name": ["x", None], "category": ["c", "d"]})
    checks = check_catalogue(frame, CatalogueColumns(item_id="i", name="n", category="c"))
    assert _failed(checks) == {"item_id_unique", "name_present"}
    bare = check_catalogue(frame, CatalogueColumns(item_id="i"))
    assert _failed(bare) == {"item_id_unique"}
    assert {check.name: check.severity for check in checks}["name_present"] == "warning"


def _features(table, **changes):
    keys = {"user_id": 1, "item_id": 2, "subcategory": "s"}
    row = keys | {feature.name: 0.5 for feature in FEATURES[table]}
    rows = [row, row | {"user_id": 2, "item_id": 3} | changes]
    return pa.Table.from_pylist(rows, schema=arrow_schema(table, "int64"))


def check_features(table, rows):
    counted = tally_features(table, rows)
    return [not_empty(table, counted[0].rows), *judge(counted)]


@pytest.mark.parametrize("table", FEATURES)
def test_features_that_are_fine(table):
    assert _failed(check_features(table, in_batches(_features(table)))) == set()


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"gap_mean": None}, set()),
        ({"gap_mean": float("nan")}, set()),
        ({"days": None}, {"days_present"}),
        ({"weight_slow": float("inf")}, {"weight_slow_in_bounds"}),
        ({"weight_slow": -1.0}, {"weight_slow_in_bounds"}),
        ({"user_id": 1, "item_id": 2}, {"user_id_item_id_unique"}),
        ({"user_id": None}, {"user_id_present"}),
    ],
)
def test_features(changes, failed):
    rows = in_batches(_features("user_item_features", **changes))
    assert _failed(check_features("user_item_features", rows)) == failed


def test_an_empty_feature_table_is_refused():
    checks = check_features("user_features", in_batches(_features("user_features").slice(0, 0)))
    assert "user_features_rows" in _failed(checks)


def _lists(ids=INT64, **changes):
    good = {"user_id": 1, "item_ids": [5, 3, 4], "scores": [2.0, 1.0, 1.0], "fallback": 0, "code": 0}
    fallback = {
        "user_id": 2,
        "item_ids": [9 if ids == INT64 else "9"],
        "scores": [-1.0],
        "fallback": 2,
        "code": None,
    }
    schema = pa.schema(
        [
            ("user_id", pa.int64()),
            ("item_ids", pa.list_(ids)),
            ("scores", pa.list_(pa.float32())),
            ("fallback", pa.int8()),
            ("code", pa.int32()),
        ]
    )
    return pa.Table.from_pylist([good | changes, fallback], schema=schema)


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, set()),
        ({"item_ids": [5, 4, 3]}, {"out_of_order_in_bounds"}),
        ({"scores": [1.0, 2.0, 0.0]}, {"out_of_order_in_bounds"}),
        ({"item_ids": [5, 3, 5]}, {"repeated_items_in_bounds"}),
        ({"item_ids": []}, {"unequal_lengths_in_bounds"}),
        ({"item_ids": [], "scores": []}, set()),  # one such list refused the whole release before
        ({"item_ids": None, "scores": None}, {"items_present"}),
        ({"item_ids": [5, 3, 4, 6], "scores": [4.0, 3.0, 2.0, 1.0]}, {"items_in_bounds"}),
        ({"scores": [2.0, 1.0]}, {"unequal_lengths_in_bounds"}),
        ({"scores": [float("inf"), 1.0, 0.0]}, {"not_finite_in_bounds"}),
        ({"scores": [2.0, 1.0, float("nan")]}, {"not_finite_in_bounds", "out_of_order_in_bounds"}),
        ({"item_ids": [5, None, 4], "scores": [3.0, 2.0, 1.0]}, {"missing_items_in_bounds"}),
        ({"fallback": 3}, {"fallback_in_bounds"}),
        ({"user_id": 2}, {"user_id_unique"}),
        ({"user_id": None}, {"user_id_present"}),
        ({"code": -1}, {"code_in_bounds"}),
    ],
)
def test_lists(changes, failed):
    assert _failed(check_lists(in_batches(_lists(**changes)), 3)) == failed


def test_ties_of_string_ids_go_by_their_bytes():
    ties = {"scores": [1.0, 1.0, 1.0]}
    bytewise = _lists(pa.string(), item_ids=["Z", "a", "é"], **ties)
    assert _failed(check_lists(in_batches(bytewise), 3)) == set()
    other = _lists(pa.string(), item_ids=["a", "Z", "é"], **ties)
    assert _failed(check_lists(in_batches(other), 3)) == {"out_of_order_in_bounds"}


def test_an_unknown_expectation_is_an_error():
    with pytest.raises(ValueError, match="x: nothing counts what is against NothingOfTheKind"):
        run_suite(in_batches(pa.table({"a": [1]})), [Expectation("x", "NothingOfTheKind")])
