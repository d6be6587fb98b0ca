"""The plan against an oracle in plain Python that looks at one as-of day at a time."""

import datetime as dt
import math
import random
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise

import pytest

from lake.schemas import FEATURES, TABLES, spark_ddl
from spark_jobs import features
from spark_jobs.features import Plan

pytestmark = pytest.mark.spark

FIRST = dt.date(2024, 1, 1)
WEIGHTS = {"purchase": 1.0, "view": 0.25}
CATALOGUE = {10: ("dairy", "milk", "ours"), 11: ("dairy", "milk", None), 12: ("bakery", "bread", "other")}
CATALOGUE |= {13: ("bakery", None, "ours")}
CATALOGUE_DDL = "item_id BIGINT, category STRING, subcategory STRING, brand STRING, as_of INT"


def day(offset):
    return FIRST + dt.timedelta(days=offset)


def event(offset, user=1, item=10, late=0, kind="purchase", quantity=1, amount="2.50"):
    at = dt.datetime.combine(day(offset), dt.time(12), dt.UTC)
    cost = None if amount is None else Decimal(amount)
    pieces = None if quantity is None else Decimal(quantity)
    return (user, item, at, kind, pieces, cost, "basket", "store", "file", day(offset + late))


def build(spark, events, as_ofs, catalogue=CATALOGUE, order=None):
    frame = spark.createDataFrame(events, spark_ddl("interactions", "int64") + ", landed DATE")
    items = [
        (item, category, kind, brand, (as_of - dt.date(1970, 1, 1)).days)
        for as_of in as_ofs
        for item, (category, kind, brand) in catalogue.items()
    ]
    made = features.tables(
        frame.repartition(order or 1), spark.createDataFrame(items, CATALOGUE_DDL), Plan(as_ofs, WEIGHTS)
    )
    found = {}
    for table, frame in made.items():
        keys = list(TABLES[table].key)
        for row in (row.asDict() for row in frame.collect()):
            found[table, row.pop("as_of"), *(row.pop(key) for key in keys)] = row
    spark.catalog.clearCache()
    return found


def oracle(events, as_of, catalogue=CATALOGUE):
    seen = [e for e in events if e[9] <= as_of and e[2].date() <= as_of]
    history = defaultdict(dict)
    for user, item, at, kind, quantity, amount, *_ in seen:
        history[user, item].setdefault((as_of - at.date()).days, []).append((kind, quantity, amount))
    kinds = {item: kind for item, (_, kind, _) in catalogue.items()}
    pair = {key: _pair(days) for key, days in history.items()}
    found = {("user_item_features", as_of, *key): value["shown"] for key, value in pair.items()}
    for user in {user for user, _ in pair}:
        mine = {item: value for (who, item), value in pair.items() if who == user}
        found["user_features", as_of, user] = _user(mine)
        found |= {
            ("user_category_features", as_of, user, kind): _category(mine, kinds, kind)
            for kind in {kinds.get(item) for item in mine} - {None}
        }
    for item in {item for _, item in pair}:
        found["item_features", as_of, item] = _item(item, pair, kinds)
    return found


def _decay(age, half_life, weight=1.0):
    return weight * 0.5 ** ((age + 1) / half_life)


def _pair(days):
    ages = sorted(days)
    rows = [row for found in days.values() for row in found]
    paid = [float(amount) for _, _, amount in rows if amount is not None]
    pieces = sum(max(float(quantity or 0), 1) for _, quantity, _ in rows)
    priced = sum(max(float(quantity or 0), 1) for _, quantity, amount in rows if amount is not None)
    top = {age: max(WEIGHTS[kind] for kind, _, _ in found) for age, found in days.items()}
    gaps = [older - younger for younger, older in pairwise(ages)]
    mean = sum(gaps) / len(gaps) if gaps else None
    ripe = [age for age in ages if age >= 28]
    shown = {
        "m60": sum(_decay(age, 60, top[age]) for age in ages),
        "m15": sum(_decay(age, 15, top[age]) for age in ages),
        "days": len(ages),
        **{f"days_{n}": sum(age < n for age in ages) for n in (7, 28, 91)},
        "days_since_last": ages[0],
        "days_since_first": ages[-1],
        "gap_mean": mean,
        "gap_last": gaps[0] if gaps else None,
        "due": ages[0] / mean if mean else None,
        "quantity_mean": pieces / len(ages),
    }
    return {
        "shown": shown,
        "ages": ages,
        "pieces": pieces,
        "priced": priced,
        "paid": sum(paid) if paid else None,
        "ripe": len(ripe),
        "again": sum(any(age - 28 <= other < age for other in ages) for age in ripe),
    }


def _ratio(one, other):
    return None if one is None or not other else one / other


def _sum(values):
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _user(mine):
    ages = sorted({age for value in mine.values() for age in value["ages"]})
    return {
        "trips": len(ages),
        **{f"trips_{n}": sum(age < n for age in ages) for n in (7, 28, 91)},
        "trip_rate": sum(_decay(age, 30) for age in ages),
        "days_since_last": ages[0],
        "days_since_first": ages[-1],
        "items": len(mine),
        "items_per_trip": sum(len(value["ages"]) for value in mine.values()) / len(ages),
        "amount_per_trip": _ratio(_sum(value["paid"] for value in mine.values()), len(ages)),
        "quantity_per_trip": sum(value["pieces"] for value in mine.values()) / len(ages),
    }


def _category(mine, kinds, kind):
    kin = [value for item, value in mine.items() if kinds.get(item) == kind]
    m60 = sum(value["shown"]["m60"] for value in kin)
    return {
        "m60": m60,
        "pair_days": sum(len(value["ages"]) for value in kin),
        "pair_days_28": sum(value["shown"]["days_28"] for value in kin),
        "days_since_last": min(value["ages"][0] for value in kin),
        "share": m60 / sum(value["shown"]["m60"] for value in mine.values()),
    }


def _item(item, pair, kinds):
    own = [value for (_, which), value in pair.items() if which == item]
    kin = [value for (_, which), value in pair.items() if kinds.get(which) == kinds.get(item)]
    every = _ratio(sum(v["again"] for v in pair.values()), sum(v["ripe"] for v in pair.values())) or 0
    q = (sum(v["again"] for v in kin) + 20 * every) / (sum(v["ripe"] for v in kin) + 20)
    q = q if kinds.get(item) else every
    users = {n: sum(value["ages"][0] < n for value in own) for n in (7, 28, 91)}
    return {
        "users": len(own),
        **{f"users_{n}": count for n, count in users.items()},
        "m60": sum(value["shown"]["m60"] for value in own),
        "days_since_last": min(value["ages"][0] for value in own),
        "trend": 4 * users[7] / (users[28] + 2),
        "price": _ratio(_sum(v["paid"] for v in own), sum(v["priced"] for v in own)),
        "rebuy_28": (sum(v["again"] for v in own) + 20 * q) / (sum(v["ripe"] for v in own) + 20),
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for key, features_ in expected.items():
        for name, value in features_.items():
            told = found[key][name]
            assert (told is None) == (value is None), (key, name, told, value)
            assert value is None or told == pytest.approx(value, rel=1e-5), (key, name)


def many_events(count=400):
    draw = random.Random(7)
    made = [
        event(
            draw.randrange(100),
            draw.randrange(3),
            draw.choice([10, 11, 12, 13, 99]),
            draw.choice([0, 0, 0, 1, 9, 40]),
            draw.choice(["purchase", "purchase", "view"]),
            draw.choice([None, 0, 1, 2, 7]),
            draw.choice([None, "0", "2.50", "3.99"]),
        )
        for _ in range(count)
    ]
    return [e for e in made if e[0] or e[1] == 10]


AS_OFS = (day(40), day(61), day(68), day(89))


@pytest.fixture(scope="module")
def built(spark):
    return build(spark, many_events(), AS_OFS)


def test_every_feature_of_every_as_of_day_is_what_the_oracle_says_late_rows_included(built):
    expected = {}
    for as_of in AS_OFS:
        expected |= oracle(many_events(), as_of)
    assert_equal(built, expected)
    told = {table: set(next(v for k, v in expected.items() if k[0] == table)) for table in FEATURES}
    lacking = {t: {f.name for f in FEATURES[t]} - told[t] for t in FEATURES}
    assert lacking == {
        t: {"brand_code", "category_code"} if t == "item_features" else set() for t in FEATURES
    }


def test_neither_the_cut_of_files_nor_other_as_of_days_change_a_bit(spark, built):
    shuffled = sorted(many_events(), key=lambda e: (str(e[4]), e[0], e[2]))
    alone = build(spark, shuffled, AS_OFS[2:3], order=5)
    assert alone == {key: value for key, value in built.items() if key[1] == AS_OFS[2]}


def test_an_item_that_the_catalogue_lacks_has_no_codes(built):
    for item in (10, 99):
        codes = [built["item_features", AS_OFS[0], item][f"{name}_code"] for name in ("brand", "category")]
        assert codes == [None, None] if item == 99 else all(0 <= code < 65_536 for code in codes)
    assert built["item_features", AS_OFS[0], 11]["brand_code"] is None


@pytest.fixture(scope="module")
def with_late(spark):
    """User 1 has a late second day; user 2 a late row of a day that is known."""
    late = [event(0), event(3, late=4)]
    known = [event(0, user=2, kind="view"), event(0, user=2, late=6)]
    return build(spark, late + known, (day(5), day(7)), catalogue={})


def test_a_late_row_counts_from_the_day_it_landed(with_late):
    early, late = (with_late["user_item_features", day(n), 1, 10] for n in (5, 7))
    assert (early["days"], early["days_since_last"], early["gap_last"]) == (1, 5, None)
    assert (late["days"], late["days_since_last"], late["gap_last"]) == (2, 4, 3)


def test_a_late_row_of_a_known_day_raises_its_weight_but_is_no_second_day(with_late):
    early, late = (with_late["user_item_features", day(n), 2, 10] for n in (5, 7))
    assert (early["days"], late["days"]) == (1, 1)
    assert (early["quantity_mean"], late["quantity_mean"]) == (1, 2)
    assert early["m60"] == pytest.approx(0.25 * 0.5 ** (6 / 60))
    assert late["m60"] == pytest.approx(0.5 ** (8 / 60))


def test_without_a_catalogue_there_are_no_category_rows(with_late):
    assert {key[0] for key in with_late} == FEATURES.keys() - {"user_category_features"}
    assert not math.isnan(with_late["item_features", day(5), 10]["rebuy_28"])


def test_an_event_type_without_a_weight_is_an_error_that_names_it(spark):
    with pytest.raises(Exception, match=r"events\.weights has no weight for event type gift"):
        build(spark, [event(0, kind="gift")], (day(1),))
