import dataclasses
import hashlib
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightjar_reader import format as fmt

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
days = st.dates().map(str)
manifests = st.builds(
    fmt.Manifest,
    as_of=days,
    config_digest=texts,
    bundle=st.none() | st.builds(fmt.Bundle, texts, days, texts),
    baseline=st.none() | texts,
    inputs=st.dictionaries(texts, texts, max_size=3),
    missing_days=st.lists(days, max_size=3).map(tuple),
    counts=st.dictionaries(texts, st.integers(0, 10**12), max_size=3),
    metrics=st.dictionaries(texts, numbers | st.dictionaries(texts, numbers, max_size=2), max_size=3),
    checks=st.lists(st.builds(fmt.Check, texts, texts, st.booleans()), max_size=3).map(tuple),
    index=st.none() | st.builds(fmt.Index, st.integers(1), st.integers(1), st.floats(0, 1), st.integers(1)),
    warnings=st.lists(texts, max_size=3).map(tuple),
    files=st.dictionaries(texts, st.builds(fmt.FileEntry, st.integers(0), texts), max_size=3),
    buckets=st.integers(1, 512),
)
release_ids = st.builds("{}-{}".format, days, st.text("0123456789abcdef", min_size=12, max_size=12))
entries = st.builds(
    fmt.LedgerEntry,
    sequence=st.integers(1, 10**12 - 1),
    kind=st.sampled_from(["publish", "rollback"]),
    releases=st.lists(
        st.builds(fmt.LedgerRelease, release_ids, texts, st.floats(1e-3, 1e3)), min_size=1, max_size=3
    ).map(tuple),
    as_of=days,
    actor=texts,
    reason=texts,
    written_at=texts,
)


def manifest() -> fmt.Manifest:
    return fmt.Manifest(
        as_of="2017-09-30",
        config_digest="c0",
        bundle=fmt.Bundle("b1", "2017-09-29", "kept"),
        baseline=None,
        inputs={"user_features": "3:4:5"},
        missing_days=("2017-09-01",),
        counts={"users": 2},
        metrics={"ndcg@10": 0.31, "Zoë": 1},
        checks=(fmt.Check("rows", "critical", True),),
        index=fmt.Index(25, 20000, 0.97, 10),
        warnings=(),
        files={"popular.parquet": fmt.FileEntry(4, "ab")},
    )


def altered(**changes: object) -> bytes:
    value = json.loads(fmt.canonical(manifest())) | changes
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_canonical_manifest_is_these_bytes() -> None:
    expected = (
        '{"as_of":"2017-09-30","baseline":null,"buckets":64,'
        '"bundle":{"as_of":"2017-09-29","id":"b1","outcome":"kept"},'
        '"checks":[{"name":"rows","passed":true,"severity":"critical"}],"config_digest":"c0",'
        '"counts":{"users":2},"files":{"popular.parquet":{"bytes":4,"sha256":"ab"}},"format":1,'
        '"index":{"bytes":10,"recall":0.97,"search_k":20000,"trees":25},'
        '"inputs":{"user_features":"3:4:5"},"metrics":{"Zoë":1,"ndcg@10":0.31},'
        '"missing_days":["2017-09-01"],"warnings":[]}'
    ).encode()
    assert fmt.canonical(manifest()) == expected
    assert fmt.release_id(expected) == "2017-09-30-" + hashlib.sha256(expected).hexdigest()[:12]


@given(manifests)
def test_manifest_survives_its_bytes(made: fmt.Manifest) -> None:
    data = fmt.canonical(made)
    assert fmt.parse(data) == made
    assert fmt.canonical(fmt.parse(data)) == data


@given(manifests)
def test_canonical_bytes_do_not_depend_on_the_order_of_keys(made: fmt.Manifest) -> None:
    turned = dataclasses.replace(
        made, files=dict(reversed(made.files.items())), metrics=dict(reversed(made.metrics.items()))
    )
    assert fmt.canonical(turned) == fmt.canonical(made)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_manifest_refuses_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        fmt.canonical(dataclasses.replace(manifest(), metrics={"ndcg@10": value}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected JSON"),
        (b"\xff", "expected JSON"),
        (b"[]", "expected a JSON object, found list"),
        (altered(format=2), "expected format 1, found 2"),
        (altered(host="here"), "unknown host"),
        (altered(as_of="today"), "expected as_of YYYY-MM-DD, found 'today'"),
        (altered(as_of=20170930), "expected as_of"),
        (altered(buckets=0), "expected buckets above 0, found 0"),
        (altered(bundle={"id": "b1"}), "wrong shape"),
        (altered(files=[]), "wrong shape"),
        (altered(metrics={"ndcg@10": math.nan}), "NaN is not JSON"),
        (fmt.canonical(manifest()) + b"\n", "not the canonical JSON"),
        (fmt.canonical(manifest()).replace(b",", b", ", 1), "not the canonical JSON"),
    ],
)
def test_parse_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(fmt.FormatError, match=message):
        fmt.parse(data)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(fmt.Manifest)])
def test_every_field_is_required(name: str) -> None:
    value = json.loads(fmt.canonical(manifest()))
    del value[name]
    with pytest.raises(fmt.FormatError, match=name):
        fmt.parse(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        (1, 51),
        (2, 58),
        (1364, 38),
        (-7, 39),
        (9223372036854775807, 48),
        ("42", 52),
        (42, 52),
        ("ä", 63),
        ("B00X", 47),
    ],
)
def test_bucket_of_the_page(id: int | str, expected: int) -> None:
    assert fmt.bucket(id, 64) == expected


@given(st.integers() | texts, st.integers(1, 1000))
def test_bucket_is_the_digest_modulo(id: int | str, buckets: int) -> None:
    first = hashlib.sha256(str(id).encode()).hexdigest()[:8]
    assert fmt.bucket(id, buckets) == int(first, 16) % buckets


def test_paths() -> None:
    assert fmt.lists_path(7) == "lists/07.parquet"
    assert fmt.similar_path(63) == "similar/63.parquet"
    assert fmt.release_path("r", fmt.lists_path(0)) == "releases/r/lists/00.parquet"
    assert fmt.release_path("r") == "releases/r"
    assert fmt.manifest_path("r") == "releases/r/manifest.json"
    assert fmt.ledger_path(12) == "ledger/000000000012.json"
    assert fmt.provenance_path("r", "a") == "provenance/r/a.json"


@pytest.mark.parametrize(
    "name", ["1.json", "000000000001.json~", "000000000001.txt", ".000000000001.json", "x.json"]
)
def test_only_twelve_digits_name_an_entry(name: str) -> None:
    assert fmt.ledger_sequence("000000000012.json") == 12
    assert fmt.ledger_sequence(name) is None


@given(entries)
def test_entry_survives_its_json(entry: fmt.LedgerEntry) -> None:
    data = json.dumps(entry.to_json()).encode()
    assert fmt.parse_entry(data) == entry
    assert fmt.LedgerEntry.from_json(entry.to_json()) == entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "expected format 1, found 9"),
        ({"kind": "delete"}, "publish or rollback, found 'delete'"),
        ({"releases": []}, "names no release"),
        ({"releases": [{"release_id": "../x", "manifest_sha256": "", "weight": 1}]}, "not a release id"),
        (
            {"releases": [{"release_id": "2017-09-30-0123456789ab", "manifest_sha256": "", "weight": 0}]},
            "above 0",
        ),
        ({"releases": [{"id": "2017-09-30-0123456789ab"}]}, "wrong shape"),
        ({"host": "here"}, "unknown host"),
    ],
)
def test_entry_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    release = fmt.LedgerRelease("2017-09-30-0123456789ab", "ab")
    good = fmt.LedgerEntry(1, "publish", (release,), "2017-09-30", "me", "", "now").to_json()
    assert fmt.LedgerEntry.from_json(good).releases == (release,)
    with pytest.raises(fmt.FormatError, match=message):
        fmt.LedgerEntry.from_json(good | change)


def test_arms_share_users_by_weight() -> None:
    counts = [0, 0]
    for user in range(4000):
        counts[fmt.arm(user, [3, 1])] += 1
    assert 0.72 < counts[0] / 4000 < 0.78


@given(st.integers() | texts, st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5))
def test_arm_is_one_of_them_and_ignores_scale(user: int | str, weights: list[float]) -> None:
    arm = fmt.arm(user, weights)
    assert 0 <= arm < len(weights)
    assert fmt.arm(user, [weight * 2 for weight in weights]) == arm


@pytest.mark.parametrize(("id_type", "expected"), [("int64", pa.int64()), ("string", pa.string())])
def test_columns_and_types(id_type: fmt.IdType, expected: pa.DataType) -> None:
    lists = fmt.lists_schema(id_type)
    assert lists.names == ["user_id", "item_ids", "scores", "fallback", "code"]
    assert lists.types == [expected, pa.list_(expected), pa.list_(pa.float32()), pa.int8(), pa.int32()]
    assert fmt.similar_schema(id_type).names == ["item_id", "item_ids", "scores"]
    assert fmt.popular_schema(id_type).names == ["segment", "item_ids", "scores"]
    items = fmt.items_schema(id_type)
    assert list(zip(items.names, items.types, strict=True)) == [
        ("item_id", expected),
        ("code", pa.int32()),
        ("name", pa.string()),
        ("category", pa.string()),
    ]


def test_lists_are_three_level_in_parquet(tmp_path) -> None:
    path = tmp_path / "lists.parquet"
    pq.write_table(fmt.lists_schema("int64").empty_table(), path)
    schema = pq.ParquetFile(path).schema
    assert [schema.column(place).path for place in range(5)] == [
        "user_id",
        "item_ids.list.element",
        "scores.list.element",
        "fallback",
        "code",
    ]
