"""Rows that are left out, copies, bots and settled returns among faults: all at once, and each by itself."""

import datetime as dt
import json
import random
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import tables
from nightjar.command import quarantine
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

DAY, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
KINDS = ("clean", "bad", "duplicate", "ignored", "return", "excluded", "bot", "netted")
RULES = """
returns = "net"

[rules.exclude]
items = ["POST", "BANK CHARGES"]
items_file = "no-products.txt"
item_patterns = ["gift_[0-9]+", "(test|demo) .*"]
users = ["house"]
user_patterns = ["qa-[a-z]*"]
bot_deviations = 2
bot_min_rows = 8
"""
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("user", "item")),
        ("at", pa.timestamp("us")),
        ("type", pa.string()),
        *((name, pa.float64()) for name in ("pieces", "paid")),
        *((name, pa.string()) for name in ("basket", "store")),
        *((name, pa.int64()) for name in ("invoice", "offset")),
    ]
)


def _made(tiny, rules=RULES, key="", ignored=""):
    """A data set with other rules."""
    path = Path(tiny.settings.dataset)
    text = path.read_text(encoding="utf-8").replace("max_bad_share = 0.5", f"max_bad_share = 1.0\n{rules}")
    text = text.replace("[raw.columns]", f"{key}\n[raw.columns]").replace(
        'labels = ["purchase"]', f'labels = ["purchase"]\n{ignored}'
    )
    path.write_text(text.replace("max_rows = 100", "max_rows = 1000"), encoding="utf-8")
    path.with_name("no-products.txt").write_text("\ufeffDISCOUNT\r\n\n  fee \n", encoding="utf-8")
    return tiny


@pytest.fixture
def strict(tiny_with, tmp_path):
    """A function: a data set of text ids with all of this."""

    def make(name="strict"):
        (tmp_path / name).mkdir()
        tiny = tiny_with(tmp_path / name, id_type="string", late_days=1)
        return _made(tiny, key='event_key = ["invoice"]', ignored='ignore = ["remove"]')

    return make


def _rows_of(draw, day, numbers):
    """Rows of a day, each with something that may be wrong, unwanted, or there before."""
    for invoice in numbers:
        user = draw.choice([*["ann", "bob", "cyd", "dan"] * 4, *["crawler"] * 20, None, "house", "qa-x"])
        item = draw.choice(
            [*["tea", "jam"] * 9, "POST", "gift_7", "gift_", "demo set", "DISCOUNT", "fee", ""]
        )
        pieces, paid = draw.choice(
            [(1, 2.5), (2, 5), (3, 7.5), (-1, -2.5), (-2, -5), (-1, 2.5), (0, -1), (1, float("nan"))]
        )
        yield {
            "user": user,
            "item": item,
            "at": dt.datetime.combine(day, dt.time(draw.randrange(24), draw.randrange(2))),
            "type": draw.choice(["purchase"] * 8 + ["view", "remove", "gift"]),
            "pieces": pieces,
            "paid": paid,
            "basket": "7",
            "store": draw.choice("AB"),
            "invoice": draw.choice([invoice] * 3 + [None]),
            "offset": invoice,
        }


def _delivered(draw):
    """Two days of such rows; the second has copies of its own, and late ones of the first's."""
    first = list(_rows_of(draw, DAY, range(40)))
    second = list(_rows_of(draw, NEXT, range(40, 220)))
    copies = [
        row | {"offset": 1000 + n} for n, row in enumerate(draw.sample(first, 15) + draw.sample(second, 25))
    ]
    second += [row | {"store": "B"} if draw.random() < 0.3 else row for row in copies] + second[:5]
    draw.shuffle(second)
    return first, second


UNWANTED = {"POST", "BANK CHARGES", "DISCOUNT", "fee"}


def _kind(row):
    """What the rules of rows say, which is asked of each by itself."""
    if row["type"] == "remove":
        return "ignored"
    if row["user"] == "house" or re.fullmatch("qa-[a-z]*", row["user"] or ""):
        return "excluded"
    if row["item"] in UNWANTED or re.fullmatch("gift_[0-9]+|(test|demo) .*", row["item"]):
        return "excluded"
    if not row["user"] or not row["item"] or row["type"] == "gift" or row["paid"] != row["paid"]:
        return "bad"
    return "return" if row["pieces"] < 0 or row["paid"] < 0 else "clean"


def _expected(first, second):
    """The kind of each row of the second day, and its clean rows: written again in plain Python."""
    kinds = [_kind(row) for row in second]
    _copies(first, second, kinds)
    _bots(second, kinds)
    numbers = [[Decimal(str(row["pieces"])), Decimal(str(row["paid"]))] for row in second]
    smaller = _net(second, kinds, numbers)
    clean = [
        (row["user"], row["item"], row["at"].replace(tzinfo=dt.UTC), *left)
        for row, kind, left in zip(second, kinds, numbers, strict=True)
        if kind == "clean"
    ]
    return kinds, sorted(clean), smaller


def _event(row, kind):
    return (kind, row["invoice"]) if row["invoice"] is not None else (kind, *map(str, row.values()))


def _copies(first, second, kinds):
    seen = {_event(row, _kind(row)) for row in first}
    for n, row in enumerate(second):
        if kinds[n] in ("clean", "return"):
            event = _event(row, kinds[n])
            kinds[n] = "duplicate" if event in seen else kinds[n]
            seen.add(event)


def _bots(second, kinds):
    rows = Counter(row["user"] for row, kind in zip(second, kinds, strict=True) if kind == "clean")
    counts = sorted(rows.values())
    median = counts[(len(counts) - 1) // 2]
    factor = sorted(max(n / median, median / n) for n in counts)[(len(counts) - 1) // 2]
    for n, row in enumerate(second):
        if kinds[n] == "clean" and rows[row["user"]] > max(8, median * factor**2):
            kinds[n] = "bot"


def _net(second, kinds, numbers):
    order = sorted(range(len(second)), key=lambda n: (second[n]["at"], kinds[n] == "return", n))
    smaller = set()
    for n in (n for n in order if kinds[n] == "return"):
        row, taken = second[n], [abs(value) for value in numbers[n]]
        for other in reversed(order[: order.index(n)]):
            same = all(second[other][name] == row[name] for name in ("user", "item", "type"))
            if (
                same
                and kinds[other] == "clean"
                and all(x >= y for x, y in zip(numbers[other], taken, strict=True))
            ):
                kinds[n] = "netted"
                had, numbers[other] = (
                    numbers[other],
                    [x - y for x, y in zip(numbers[other], taken, strict=True)],
                )
                is_gone = not numbers[other][0] and (had[0] or not numbers[other][1])
                kinds[other] = "netted" if is_gone else "clean"
                (smaller.discard if is_gone else smaller.add)(other)
                break
    return len(smaller)


def _read(tiny, record, table="interactions"):
    files = record.tables[table].files
    return tables.read(tiny.lake.storage, table, tiny.lake.data.id_type, files).to_pylist()


@pytest.mark.parametrize("seed", range(3))
def test_all_of_it_at_once_leaves_the_clean_subset(strict, seed):
    tiny, (first, second) = strict(), _delivered(random.Random(seed))
    for day, rows in ((DAY, first), (NEXT, second)):
        tiny.put(day, rows, SCHEMA)
    kinds, clean, smaller = _expected(first, second)
    assert len(set(kinds)) == len(KINDS), sorted(set(kinds))
    record = tiny.ingest_unjudged(NEXT)
    aside = {row["row_number"]: row["kind"] for row in _read(tiny, record, "quarantine")}
    assert aside == {number: kind for number, kind in enumerate(kinds, 1) if kind != "clean"}
    found = [
        (row["user_id"], row["item_id"], row["event_ts"], row["quantity"], row["amount"])
        for row in _read(tiny, record)
    ]
    assert sorted(found) == clean
    counts = record.counts
    assert {kind: counts[kind] for kind in KINDS} == Counter(kinds)
    assert sum(counts[kind] for kind in KINDS) == counts["read"] == len(second)
    assert counts["smaller"] == smaller


def test_a_bootstrap_makes_of_days_what_their_nights_make(strict):
    nights, at_once = strict("nights"), strict("at-once")
    for tiny in (nights, at_once):
        for day, rows in zip((DAY, NEXT), _delivered(random.Random(7)), strict=True):
            tiny.put(day, rows, SCHEMA)
    one_by_one = [nights.ingest_unjudged(day) for day in (DAY, NEXT)]
    attempt = attempts.begin(at_once.lake, Ingest(), [DAY, NEXT])
    at_once.extract(attempt)
    plan, made = (read(at_once.lake, Ingest(), attempt) for read in (attempts.read_plan, attempts.read_made))
    together = [Ingest().draft(plan, made, day) for day in (DAY, NEXT)]
    assert [(r.fingerprint, r.content) for r in one_by_one] == [(r.fingerprint, r.content) for r in together]
    assert all(together[1].counts[kind] for kind in KINDS)


def test_what_is_left_out_is_no_fault_and_is_shown_by_reason(tiny_with, tmp_path, tiny_row):
    """Postage was sold, and its rows without a customer used up the budget for faults."""
    tiny = _made(tiny_with(tmp_path, id_type="string"))
    post = [tiny_row(DAY, user=None, item=item, paid=None) for item in ("POST", "fee", "gift_12")]
    tests = [tiny_row(DAY, user=user, item=None) for user in ("house", "qa-b")]
    kept = [tiny_row(DAY, user=user, item=item) for user, item in (("ann", "post"), ("qa-B", "gift_12a"))]
    schema = SCHEMA.remove(SCHEMA.get_field_index("offset")).remove(SCHEMA.get_field_index("invoice"))
    rows = [row | {"basket": str(row["basket"])} for row in [*post, *tests, *kept]]
    tiny.put(DAY, rows, schema)
    record = tiny.ingest(DAY)
    counts = record.counts
    assert (counts["read"], counts["clean"], counts["excluded"], counts["bad"]) == (7, 2, 5, 0)
    assert quarantine.look(DAY, "", 1, tiny.lake).counts == {
        ("quarantine", "excluded", "item_id_excluded"): 3,
        ("quarantine", "excluded", "user_id_excluded"): 2,
    }
    assert {row["item_id"] for row in _read(tiny, record)} == {"post", "gift_12a"}


def test_ids_of_integers_are_left_out_as_they_are_written_or_are(tiny_with, tmp_path):
    tiny = _made(
        tiny_with(tmp_path, format="csv"), '[rules.exclude]\nitems = ["22", "POST"]\nitem_patterns = ["9.*"]'
    )
    lines = [
        f"1,{item},2024-01-01,purchase,1,{n},b,A"
        for n, item in enumerate(("22", "022.0", "POST", "97", "79"))
    ]
    tiny.raw(f"events/{DAY}.csv").write_text(
        "\n".join(["user,item,at,type,pieces,paid,basket,store", *lines]) + "\n"
    )
    record = tiny.ingest(DAY)
    assert [row["item_id"] for row in _read(tiny, record)] == [79]
    assert (record.counts["excluded"], record.counts["bad"]) == (4, 0)


def test_an_item_that_is_left_out_is_in_no_catalogue(tiny_with, tmp_path, tiny_row, caplog):
    tiny = _made(tiny_with(tmp_path, id_type="string"), "")
    item = {"title": "t", "department": "d", "kind": "k", "brand": "b"}
    tiny.put_items(DAY, [item | {"item": name} for name in ("tea", "jam", "POST", "gift_1")])
    schema = pa.Table.from_pylist([tiny_row(DAY, user="u", item="i")]).schema
    tiny.put(DAY, [tiny_row(DAY, user="u", item="tea")], schema)
    assert len(_read(tiny, tiny.ingest(DAY), "catalogue")) == 4
    path = Path(tiny.settings.dataset)
    rules = 'max_bad_catalogue_share = 0.0\n[rules.exclude]\nitems = ["POST", "gift_1"]'
    path.write_text(
        path.read_text("utf-8").replace("max_bad_share = 1.0", f"max_bad_share = 1.0\n{rules}"), "utf-8"
    )
    other = type(tiny)(
        tiny.settings.model_copy(update={"dataset": str(path.rename(path.with_name("other.toml")))})
    )
    other.put_items(NEXT, [item | {"item": name} for name in ("tea", "jam", "POST", "gift_1")])
    other.put(NEXT, [tiny_row(NEXT, user="u", item="tea")], schema)
    record = other.ingest(NEXT)
    assert [row["item_id"] for row in _read(other, record, "catalogue")] == ["tea", "jam"]
    assert {row["kind"] for row in _read(other, record, "catalogue_quarantine")} == {"excluded"}
    names = ("read", "clean", "bad", "duplicate", "excluded")
    assert [record.counts[f"catalogue_{name}"] for name in names] == [4, 2, 0, 0, 2]
    assert not any("compare.catalogue" in message for message in caplog.messages)


def test_bots_are_counted_and_named(tiny_with, tmp_path, tiny_row, caplog):
    tiny = _made(tiny_with(tmp_path), "[rules.exclude]\nbot_deviations = 3\nbot_min_rows = 5")
    rows = [tiny_row(DAY, user=user, hour=n) for user in range(4) for n in range(1 + user % 2)]
    rows += [
        tiny_row(DAY, user=user, hour=n, item=item)
        for user, items in ((7, 1), (8, 2))
        for n in range(18)
        for item in range(items)
    ]
    tiny.put(DAY, [*rows, *rows[-30:]])
    with caplog.at_level("WARNING", "validation.gate"):
        record = tiny.ingest(DAY)
    counts = record.counts
    assert (counts["clean"], counts["bot"], counts["duplicate"], counts["read"]) == (6, 54, 30, 90)
    told = "2024-01-01.bots: expected no user of far more rows than others, found 54 rows "
    named = "(2 users of more than 16 rows: 8 with 36, 7 with 18)"
    assert any(told + named in message for message in caplog.messages), caplog.messages
    assert {row["user_id"] for row in _read(tiny, record)} == {0, 1, 2, 3}


def test_the_settings_alone_change_nothing_where_no_row_is_meant(tiny_with, tmp_path, tiny_row):
    plain, strict = (tmp_path / name for name in ("plain", "strict"))
    records = []
    for folder, rules in ((plain, ""), (strict, RULES)):
        folder.mkdir()
        tiny = _made(tiny_with(folder), rules)
        tiny.put(DAY, [tiny_row(DAY, user=user) for user in (1, 2, 3, 3)])
        records.append(tiny.ingest(DAY))
    assert records[0].tables["interactions"].digest == records[1].tables["interactions"].digest
    assert not {"excluded", "bot", "netted", "smaller", "conflicting"} & records[0].counts.keys()
    assert [records[1].counts[kind] for kind in KINDS] == [3, 0, 1, 0, 0, 0, 0, 0]


def _bootstrap(tiny, *span):
    attempt = attempts.begin(tiny.lake, Ingest(), list(span))
    tiny.extract(attempt)
    return attempts.commit(tiny.lake, Ingest(), attempt)


def test_returns_change_no_earlier_day_and_a_bootstrap_settles_as_nights_do(tiny_with, tmp_path, tiny_row):
    lakes = []
    for name in ("nights", "at-once"):
        (tmp_path / name).mkdir()
        tiny = _made(
            tiny_with(tmp_path / name, late_days=1), 'returns = "net"\nnet_by = ["item_id", "context_id"]'
        )
        tiny.put(DAY, [tiny_row(DAY, pieces=2, paid=5), tiny_row(DAY, user=2, hour=13, pieces=-1, paid=-2.5)])
        late = [
            tiny_row(DAY, hour=14, pieces=-1, paid=-2.5),
            tiny_row(NEXT, basket=8),
            tiny_row(NEXT, basket=None),
        ]
        tiny.put(NEXT, [*late, tiny_row(NEXT, hour=13, basket=None, pieces=-1)])
        lakes.append(tiny)
    nights = [lakes[0].ingest(day) for day in (DAY, NEXT)]
    at_once = _bootstrap(lakes[1], DAY, NEXT)
    assert [(r.fingerprint, r.content) for r in nights] == [(r.fingerprint, r.content) for r in at_once]
    first, second = nights
    assert [(row["quantity"], row["amount"]) for row in _read(lakes[0], first)] == [(1, Decimal("2.50"))]
    assert [first.counts[name] for name in ("clean", "netted", "smaller", "return")] == [1, 1, 1, 0]
    assert [second.counts[name] for name in ("clean", "netted", "smaller", "return")] == [2, 0, 0, 2]
    reasons = [row["reasons"] for row in _read(lakes[0], first, "quarantine")]
    assert reasons == [["return_netted"]]


def test_a_return_that_comes_twice_takes_once(tiny_with, tmp_path, tiny_row):
    tiny = _made(tiny_with(tmp_path), 'returns = "net"')
    back = tiny_row(DAY, hour=13, pieces=-1, paid=-2.5)
    tiny.put(DAY, [tiny_row(DAY, pieces=3, paid=7.5), back, back])
    record = tiny.ingest(DAY)
    (row,) = _read(tiny, record)
    assert (row["quantity"], record.counts["duplicate"], record.counts["netted"]) == (2, 1, 1)
    assert json.loads(_read(tiny, record, "quarantine")[0]["raw_row"])["pieces"] == -1
    assert pq.read_metadata(tiny.raw(f"events/{DAY}.parquet")).num_rows == sum(
        record.counts[k] for k in KINDS if k in record.counts
    )
