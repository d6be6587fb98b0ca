"""The plan against an oracle in plain Python, each feature from its own words, one as-of day at a time."""

import datetime as dt
import math
import random
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise

import pytest
from pyspark.sql import functions as fn

from lake.feature_spec import FEATURES, WINDOWS
from lake.feature_states import StateFiles
from lake.schemas import TABLES, spark_ddl
from lake.sections import FeaturesSection
from spark_jobs import histories
from spark_jobs.feature_tables import ROWS_TOGETHER, is_small, tables, together
from spark_jobs.histories import KEYS, Histories, Recipe, apart
from spark_jobs.plans import FeaturesPlan

pytestmark = pytest.mark.spark

FIRST = dt.date(2024, 1, 1)
WEIGHTS = {"purchase": 1.0, "view": 0.25}
CATALOGUE = {10: ("dairy", "milk", "ours"), 11: ("dairy", "milk", None), 12: ("bakery", "bread", "other")}
CATALOGUE |= {13: ("bakery", None, "ours")}
DEFAULT = FeaturesSection()
OTHER = FeaturesSection(
    short_days=3,
    medium_days=10,
    long_days=40,
    fast_half_life=1,
    slow_half_life=9,
    trip_half_life=5,
    rebuy_days=12,
    rebuy_shrink=3,
)
SHORT = OTHER.model_copy(update={"long_days": 14})  # rows land up to 9 days late, so its states hold
CATALOGUE_DDL = "item_id BIGINT, category STRING, subcategory STRING, brand STRING"


def day(offset):
    return FIRST + dt.timedelta(days=offset)


def event(offset, user=1, item=10, late=0, kind="purchase", quantity=1, amount="2.50"):
    at = dt.datetime.combine(day(offset), dt.time(12), dt.UTC)
    cost = None if amount is None else Decimal(amount)
    pieces = None if quantity is None else Decimal(quantity)
    return (user, item, at, kind, pieces, cost, "basket", "store", "file", day(offset + late))


def frame_of(spark, events):
    return spark.createDataFrame(events, spark_ddl("interactions", "int64") + ", landed DATE")


def build(
    spark, events, as_ofs, catalogue=CATALOGUE, order=None, config=DEFAULT, start=None, size=9, by_day=False
):
    frame = frame_of(spark, events)
    items = spark.createDataFrame([(item, *names) for item, names in catalogue.items()], CATALOGUE_DDL)
    recipe, found = Recipe(WEIGHTS, config), {}
    seen = Histories.read(landed(frame.repartition(order or 1)), as_ofs, recipe, start)
    for days in seen.groups(size):
        of_day = fn.explode(fn.array(*(fn.lit(as_of.toordinal()) for as_of in days)))
        names = items.withColumns(dict.fromkeys(apart(days) if by_day else [], of_day))
        for table, made in tables(seen.numbers(days), names, recipe, days).items():
            keys = list(TABLES[table].key)
            for row in (row.asDict() for row in made.collect()):
                as_of = row.pop("as_of", days[0])
                found[table, as_of, *(row.pop(key) for key in keys)] = row
    spark.catalog.clearCache()
    return found


def landed(events):
    """The events that landed after one day and up to another."""
    return lambda after, last: events.where(fn.col("landed").between(_next(after), last))


def _next(after):
    return after + dt.timedelta(days=1) if after else FIRST


def oracle(events, as_of, config, catalogue=CATALOGUE):
    seen = [e for e in events if e[9] <= as_of and e[2].date() <= as_of]
    longest = config.history_days or math.inf
    history = defaultdict(dict)
    for user, item, at, kind, quantity, amount, *_ in seen:
        history[user, item].setdefault((as_of - at.date()).days, []).append((kind, quantity, amount))
    kinds = {item: kind for item, (_, kind, _) in catalogue.items()}
    ages = {
        user: {age for (who, _), days in history.items() if who == user for age in days}
        for user, _ in history
    }
    pair = {key: _pair(days, config) for key, days in history.items() if min(days) < longest}
    found = {("user_item_features", as_of, *key): value["shown"] for key, value in pair.items()}
    for user in {user for user, _ in pair}:
        mine = {item: value for (who, item), value in pair.items() if who == user}
        found["user_features", as_of, user] = _user(mine, sorted(ages[user]), config)
        found |= {
            ("user_category_features", as_of, user, kind): _category(mine, kinds, kind, config)
            for kind in {kinds.get(item) for item in mine} - {None}
        }
    for item in {item for _, item in pair}:
        found["item_features", as_of, item] = _item(item, pair, catalogue, config)
    return found


def _decay(age, half_life, weight=1.0):
    return weight * 0.5 ** ((age + 1) / half_life)


def _windows(config):
    return {window: getattr(config, f"{window}_days") for window in WINDOWS}


def _pair(days, config):
    ages = sorted(days)
    rows = [row for found in days.values() for row in found]
    paid = [float(amount) for _, _, amount in rows if amount is not None]
    pieces = sum(max(float(quantity or 0), 1) for _, quantity, _ in rows)
    priced = sum(max(float(quantity or 0), 1) for _, quantity, amount in rows if amount is not None)
    top = {age: max(WEIGHTS[kind] for kind, _, _ in found) for age, found in days.items()}
    gaps = [older - younger for younger, older in pairwise(ages)]
    mean = sum(gaps) / len(gaps) if gaps else None
    ripe = [age for age in ages if age >= config.rebuy_days]
    shown = {
        "weight_slow": sum(_decay(age, config.slow_half_life, top[age]) for age in ages),
        "weight_fast": sum(_decay(age, config.fast_half_life, top[age]) for age in ages),
        "days": len(ages),
        **{f"days_{name}": sum(age < n for age in ages) for name, n in _windows(config).items()},
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
        "again": sum(any(age - config.rebuy_days <= other < age for other in ages) for age in ripe),
    }


def _ratio(one, other):
    return None if one is None or not other else one / other


def _sum(values):
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _user(mine, ages, config):
    return {
        "trips": len(ages),
        **{f"trips_{name}": sum(age < n for age in ages) for name, n in _windows(config).items()},
        "trip_rate": sum(_decay(age, config.trip_half_life) for age in ages),
        "days_since_last": ages[0],
        "days_since_first": ages[-1],
        "items": len(mine),
        "items_per_trip": sum(len(value["ages"]) for value in mine.values()) / len(ages),
        "amount_per_trip": _ratio(_sum(value["paid"] for value in mine.values()), len(ages)),
        "quantity_per_trip": sum(value["pieces"] for value in mine.values()) / len(ages),
    }


def _category(mine, kinds, kind, config):
    kin = [value for item, value in mine.items() if kinds.get(item) == kind]
    weight = sum(value["shown"]["weight_slow"] for value in kin)
    return {
        "weight_slow": weight,
        "pair_days": sum(len(value["ages"]) for value in kin),
        "pair_days_medium": sum(age < config.medium_days for value in kin for age in value["ages"]),
        "days_since_last": min(value["ages"][0] for value in kin),
        "share": weight / sum(value["shown"]["weight_slow"] for value in mine.values()),
    }


def _code(text):
    """xxhash64 of a short text with Spark's seed, modulo 65,536."""
    if text is None:
        return None
    data, mask = text.encode(), 2**64 - 1
    one, two, three, four, five = (
        *(0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9),
        *(0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5),
    )

    def turned(value, by):
        value &= mask
        return (value << by | value >> (64 - by)) & mask

    found = 42 + five + len(data)
    whole = len(data) // 8 * 8
    for at in range(0, whole, 8):
        word = int.from_bytes(data[at : at + 8], "little")
        found = turned(found ^ turned(word * two, 31) * one & mask, 27) * one + four & mask
    if len(data) - whole >= 4:
        word = int.from_bytes(data[whole : whole + 4], "little")
        found = turned(found ^ word * one & mask, 23) * two + three & mask
        whole += 4
    for byte in data[whole:]:
        found = turned(found ^ byte * five & mask, 11) * one & mask
    found = (found ^ found >> 33) * two & mask
    found = (found ^ found >> 29) * three & mask
    return (found ^ found >> 32) % 65_536


def _item(item, pair, catalogue, config):
    category, _, brand = catalogue.get(item, (None, None, None))
    kinds, shrink = {which: kind for which, (_, kind, _) in catalogue.items()}, config.rebuy_shrink
    own = [value for (_, which), value in pair.items() if which == item]
    kin = [value for (_, which), value in pair.items() if kinds.get(which) == kinds.get(item)]
    every = _ratio(sum(v["again"] for v in pair.values()), sum(v["ripe"] for v in pair.values())) or 0
    q = (sum(v["again"] for v in kin) + shrink * every) / (sum(v["ripe"] for v in kin) + shrink)
    q = q if kinds.get(item) else every
    users = {name: sum(value["ages"][0] < n for value in own) for name, n in _windows(config).items()}
    return {
        "users": len(own),
        **{f"users_{name}": count for name, count in users.items()},
        "weight_slow": sum(value["shown"]["weight_slow"] for value in own),
        "days_since_last": min(value["ages"][0] for value in own),
        "trend": config.medium_days / config.short_days * users["short"] / (users["medium"] + 2),
        "price": _ratio(_sum(v["paid"] for v in own), sum(v["priced"] for v in own)),
        "rebuy": (sum(v["again"] for v in own) + shrink * q) / (sum(v["ripe"] for v in own) + shrink),
        "brand_code": _code(brand),
        "category_code": _code(category),
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for key, features_ in expected.items():
        for name, value in features_.items():
            told = found[key][name]
            assert (told is None) == (value is None), (key, name, told, value)
            assert value is None or told == pytest.approx(value, rel=1e-5, abs=1e-10), (key, name)


def many_events(count=400, late=(0, 0, 0, 1, 9, 40)):
    draw = random.Random(7)
    made = [
        event(
            draw.randrange(100),
            draw.randrange(3),
            draw.choice([10, 11, 12, 13, 99]),
            draw.choice(late),
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


@pytest.mark.parametrize("config", [DEFAULT, OTHER], ids=["default", "other"])
def test_every_feature_of_every_as_of_day_is_what_the_oracle_says_late_rows_included(spark, built, config):
    expected = {}
    for as_of in AS_OFS:
        expected |= oracle(many_events(), as_of, config)
    found = built if config == DEFAULT else build(spark, many_events(), AS_OFS, config=config)
    assert_equal(found, expected)
    named = {table: set(next(v for k, v in expected.items() if k[0] == table)) for table in FEATURES}
    assert named == {table: {feature.name for feature in FEATURES[table]} for table in FEATURES}


def test_pairs_and_users_not_seen_for_so_long_are_left_out(spark, built):
    config = DEFAULT.model_copy(update={"long_days": 20, "medium_days": 10, "history_days": 21})
    events = [*many_events(), event(0, user=8), event(0, user=8, item=11)]
    found = build(spark, events, AS_OFS[2:], config=config)
    assert_equal(found, oracle(events, AS_OFS[2], config) | oracle(events, AS_OFS[3], config))
    users = {key[2] for key in found if key[0] == "user_features"}
    assert users < {event[0] for event in events}


def test_neither_the_cut_of_files_nor_other_as_of_days_change_a_bit(spark, built):
    shuffled = sorted(many_events(), key=lambda e: (str(e[4]), e[0], e[2]))
    alone = build(spark, shuffled, AS_OFS[2:3], order=5)
    assert alone == {key: value for key, value in built.items() if key[1] == AS_OFS[2]}


@pytest.mark.parametrize("size", [3, 9])
def test_as_of_days_that_are_made_together_have_the_same_tables(spark, size):
    events = many_events(late=[0])
    found = build(spark, events, AS_OFS, size=size)
    assert found == build(spark, events, AS_OFS, size=1)
    assert_equal(found, {key: row for as_of in AS_OFS for key, row in oracle(events, as_of, DEFAULT).items()})


def test_days_that_have_a_catalogue_each_have_the_same_tables(spark):
    events = many_events(late=[0])
    assert build(spark, events, AS_OFS, by_day=True) == build(spark, events, AS_OFS)


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (event(39), [AS_OFS[:3], AS_OFS[3:]]),
        (event(41), [AS_OFS[:3], AS_OFS[3:]]),
        (event(38, late=2), [AS_OFS[:3], AS_OFS[3:]]),  # no as-of day between
        (event(39, late=2), [(as_of,) for as_of in AS_OFS]),  # of a day that others have seen
        (event(30, late=11), [(as_of,) for as_of in AS_OFS]),  # of a day of its own
    ],
)
def test_only_of_rows_that_landed_in_order_are_days_made_together(spark, late, expected):
    events = frame_of(spark, [event(39), event(40), event(41), late])
    seen = Histories.read(landed(events), AS_OFS, Recipe(WEIGHTS, DEFAULT), None)
    assert seen.groups(3) == expected


@pytest.mark.parametrize(
    ("rows", "days", "state", "expected"),
    [
        (ROWS_TOGETHER // 6, 6, None, True),
        (ROWS_TOGETHER // 2, 6, None, False),
        (ROWS_TOGETHER + 1, 1, None, False),  # a single day of a long history
        (10, 1, StateFiles(FIRST, {}), False),  # which has as many pairs as it likes
    ],
)
def test_a_job_is_small_by_all_that_it_caches(rows, days, state, expected):
    based_on = {FIRST + dt.timedelta(n): 0 for n in range(days)}
    what = {"stage": "features", "attempt": "a", "version": 1, "sections": {}, "based_on": based_on}
    plan = FeaturesPlan(**what, lake="", interactions={}, rows=rows, catalogues={}, state=state)
    assert is_small(plan) == expected


def test_days_of_few_rows_are_made_together_and_those_of_many_one_by_one():
    assert together(10) > 365
    assert together(0) > 365
    assert together(ROWS_TOGETHER // 3) == 3
    assert together(ROWS_TOGETHER + 1) == 1


def test_the_number_of_partitions_changes_no_bit(spark, built, partitions):
    with partitions(13):
        assert build(spark, many_events(), AS_OFS) == built


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
    assert early["weight_slow"] == pytest.approx(0.25 * 0.5 ** (6 / 60))
    assert late["weight_slow"] == pytest.approx(0.5 ** (8 / 60))


def test_without_a_catalogue_there_are_no_category_rows(with_late):
    assert {key[0] for key in with_late} == FEATURES.keys() - {"user_category_features"}
    assert not math.isnan(with_late["item_features", day(5), 10]["rebuy"])


def test_an_event_type_without_a_weight_is_an_error_that_names_it(spark):
    with pytest.raises(Exception, match=r"events\.weights has no weight for event type gift"):
        build(spark, [event(0, kind="gift")], (day(1),))


@pytest.mark.parametrize(
    "config",
    [
        FeaturesSection(short_days=1, medium_days=2, long_days=366, rebuy_days=366, rebuy_shrink=10**6),
        FeaturesSection(
            fast_half_life=1, slow_half_life=3650, trip_half_life=3650, rebuy_days=1, rebuy_shrink=1
        ),
    ],
    ids=["windows", "half-lives"],
)
def test_the_least_and_the_largest_settings_work(spark, config):
    """A half-life of ten years had weights whose sums a long does not hold."""
    events = [event(offset) for offset in range(0, 400, 3)] + [event(5, user=2, item=12)]
    assert_equal(build(spark, events, (day(400),), config=config), oracle(events, day(400), config))


def state_of(spark, events, as_of, config, before=None):
    recipe = Recipe(WEIGHTS, config)
    return Histories.read(landed(frame_of(spark, events)), [as_of], recipe, before).state(as_of)


@pytest.fixture(scope="module")
def timely():
    return [e for e in many_events() if (e[9] - e[2].date()).days <= 9]


@pytest.fixture(scope="module")
def whole(spark, timely):
    return build(spark, timely, AS_OFS, config=SHORT)


@pytest.mark.parametrize("cuts", [[14], [40], [20, 30, 40]])
def test_tables_from_a_state_are_those_of_all_rows(spark, timely, whole, cuts):
    state = None
    for cut in map(day, cuts):
        state = state_of(spark, timely, cut, SHORT, before=state)
    later = landed(frame_of(spark, timely))(state.as_of, AS_OFS[-1])
    assert not histories.reach_back(later, state.as_of, Recipe(WEIGHTS, SHORT))
    assert build(spark, timely, AS_OFS, config=SHORT, start=state) == whole


def test_a_state_has_one_stretch_of_old_days_a_key(spark, timely):
    state = state_of(spark, timely, AS_OFS[-1], SHORT)
    last_old = AS_OFS[-1].toordinal() - Recipe(WEIGHTS, SHORT).kept_days
    for table, frame in state.histories.items():
        rows = [row.asDict() for row in frame.collect()]
        old = [row for row in rows if row["day"] <= last_old]
        assert len(old) == len({tuple(row[key] for key in KEYS[table]) for row in old})
        assert max(row["days"] for row in old) > 5
        assert {row["days"] for row in rows if row["day"] > last_old} == {1}


def test_a_row_that_is_older_than_the_days_of_a_state_passes_it_over(spark):
    config = FeaturesSection(long_days=40)
    events = [event(0), event(9), event(2, user=2), event(5, late=60)]
    state = state_of(spark, events, day(50), config)
    with_state = build(spark, events, (day(65),), config=config, start=state)
    assert with_state == build(spark, events, (day(65),), config=config)
    pair = with_state["user_item_features", day(65), 1, 10]
    assert (pair["days"], pair["gap_last"]) == (3, 4)


def test_a_long_history_of_the_shortest_half_life_is_exact_wherever_it_is_cut(spark):
    """A year of periods, each with an event of its own bit: the last carry goes through all of them."""
    config = FeaturesSection(fast_half_life=1, slow_half_life=2, short_days=1, medium_days=2, long_days=28)
    events = [event(0), event(0, user=2), *(event(offset, kind="view") for offset in range(1, 300))]
    found = build(spark, events, (day(300),), config=config)
    for cut in (40, 170, 299):
        state = state_of(spark, events, day(cut), config)
        assert build(spark, events, (day(300),), config=config, start=state) == found
