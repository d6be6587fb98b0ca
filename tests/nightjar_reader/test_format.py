import dataclasses
import datetime as dt
import hashlib
import json
import math
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightjar_reader import format as fmt

DIGEST = "0123456789ab" + "ab" * 26
ID = f"2017-09-30-{DIGEST[:12]}"
OTHER = {"release_id": "2017-09-29-ba9876543210", "manifest_sha256": "ba9876543210" + "ab" * 26}
HALF = "\ud83d"  # half of a surrogate pair: JSON can spell it, UTF-8 cannot

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
days = st.dates().map(str)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
paths = st.sampled_from(["popular.parquet", "lists/00.parquet", "similar/07.parquet", "ä/b/c"])
words = st.text("abcä -", min_size=1, max_size=8).filter(str.strip)
stamps = st.datetimes(timezones=st.just(dt.UTC)).map(dt.datetime.isoformat)
manifests = st.builds(
    fmt.Manifest,
    as_of=days,
    config_digest=texts,
    bundle=st.none() | st.builds(fmt.BundleReference, texts, days, texts),
    baseline=st.none() | texts,
    inputs=st.dictionaries(texts, texts, max_size=3),
    missing_days=st.lists(days, max_size=3).map(tuple),
    counts=st.dictionaries(texts, st.integers(0, 10**12), max_size=3),
    metrics=st.dictionaries(texts, numbers | st.dictionaries(texts, numbers, max_size=2), max_size=3),
    checks=st.lists(st.builds(fmt.CheckResult, texts, texts, st.booleans()), max_size=3).map(tuple),
    index=st.none()
    | st.builds(fmt.IndexSummary, st.integers(1), st.integers(1), st.floats(0, 1), st.integers(1)),
    warnings=st.lists(texts, max_size=3).map(tuple),
    files=st.dictionaries(paths, st.builds(fmt.FileEntry, st.integers(0), digests), max_size=3),
    buckets=st.integers(1, 512),
)


def a_named_release(day: str, digest: str, weight: float) -> fmt.LedgerRelease:
    return fmt.LedgerRelease(f"{day}-{digest[:12]}", digest, weight)


def an_entry(releases: list[fmt.LedgerRelease], **fields: Any) -> fmt.LedgerEntry:
    newest = max(release.release_id[:10] for release in releases)
    return fmt.LedgerEntry(releases=tuple(releases), as_of=newest, **fields)


entries = st.builds(
    an_entry,
    sequence=st.integers(1, 10**12 - 1),
    kind=st.sampled_from(["publish", "rollback", "approve"]),
    releases=st.lists(
        st.builds(a_named_release, days, digests, st.floats(1e-3, 1e3)),
        min_size=1,
        max_size=3,
        unique_by=lambda release: release.release_id,
    ),
    actor=texts,
    reason=texts,
    written_at=stamps,
    experiment=st.none() | st.builds(fmt.Experiment, words, words),
)


def manifest() -> fmt.Manifest:
    return fmt.Manifest(
        as_of="2017-09-30",
        config_digest="c0",
        bundle=fmt.BundleReference("b1", "2017-09-29", "kept"),
        baseline=None,
        inputs={"user_features": "3:4:5"},
        missing_days=("2017-09-01",),
        counts={"users": 2},
        metrics={"ndcg@10": 0.31, "Zoë": 1},
        checks=(fmt.CheckResult("rows", "critical", True),),
        index=fmt.IndexSummary(25, 20000, 0.97, 10),
        warnings=(),
        files={"popular.parquet": fmt.FileEntry(4, DIGEST)},
    )


def altered(**changes: object) -> bytes:
    value = json.loads(fmt.canonical(manifest())) | changes
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_canonical_manifest_is_these_bytes() -> None:
    expected = (
        '{"as_of":"2017-09-30","baseline":null,"buckets":64,'
        '"bundle":{"as_of":"2017-09-29","id":"b1","outcome":"kept"},'
        '"checks":[{"name":"rows","passed":true,"severity":"critical"}],"config_digest":"c0",'
        f'"counts":{{"users":2}},"files":{{"popular.parquet":{{"bytes":4,"sha256":"{DIGEST}"}}}},"format":1,'
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
        (b"\xef\xbb\xbf" + fmt.canonical(manifest()), "expected JSON"),
        (fmt.canonical(manifest())[:-40], "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"[]", "expected an object, found \\[\\]"),
        (altered(format=2), "expected format 1, found 2; update the reader"),
        (altered(format=True), "expected format 1, found True"),
        (altered(format=2, min_reader="x", as_of=None), "expected format 1, found 2; update the reader"),
        (altered(min_reader=2), "needs reader 2 .min_reader., this is reader 1; update the reader"),
        (altered(min_reader=2, files="elsewhere"), "needs reader 2"),
        (altered(min_reader=0), "expected min_reader to be a whole number above 0, found 0"),
        (altered(min_reader=None), "expected min_reader to be"),
        (altered(as_of="today"), "expected as_of to be a day, YYYY-MM-DD, found 'today'"),
        (altered(as_of="2017-02-30"), "expected as_of to be a day"),
        (altered(as_of="２０１７-09-30"), "expected as_of to be a day"),
        (altered(as_of=20170930), "expected as_of to be a day"),
        (altered(buckets=0), "expected buckets to be a whole number above 0, found 0"),
        (altered(buckets=True), "expected buckets to be"),
        (altered(buckets=64.0), "expected buckets to be"),
        (altered(bundle={"id": "b1"}), "without bundle.as_of, expected a day"),
        (altered(bundle={}), "without bundle.id"),
        (altered(index={}), "without index.trees"),
        (altered(index={"trees": 1, "search_k": -1, "recall": 1, "bytes": 1}), "expected index.search_k"),
        (
            altered(checks=[{"name": "a", "severity": "b", "passed": 1}]),
            "expected checks.0..passed to be true",
        ),
        (altered(missing_days="2017-09-01"), "expected missing_days to be a list"),
        (altered(missing_days=["x"]), "expected missing_days to be a list, each a day"),
        (altered(counts={"users": 0.5}), "expected counts"),
        (altered(metrics={"ndcg": {"value": "high"}}), "expected metrics"),
        (altered(warnings=[1]), "expected warnings"),
        (altered(files=[]), "expected files to be an object"),
        (altered(files={"../a": {"bytes": 1, "sha256": DIGEST}}), "paths within the release, found '../a'"),
        (altered(files={"/etc/a": {"bytes": 1, "sha256": DIGEST}}), "paths within the release"),
        (
            altered(files={"a": {"bytes": -1, "sha256": DIGEST}}),
            "expected files.'a'..bytes to be a whole number",
        ),
        (
            altered(files={"a": {"bytes": 1, "sha256": None}}),
            "expected files.'a'..sha256 to be 64 hex digits",
        ),
        (altered(metrics={"ndcg@10": math.nan}), "NaN is not JSON"),
        (fmt.canonical(manifest()).replace(b"0.31", b"1e400"), "expected metrics"),
        (fmt.canonical(manifest()).replace(b'"c0"', b'"\\ud83d"'), "expected config_digest to be a text"),
        (fmt.canonical(manifest()) + b"\n", "not the canonical JSON"),
        (fmt.canonical(manifest()).replace(b",", b", ", 1), "not the canonical JSON"),
        (fmt.canonical(manifest())[:-1] + b',"warnings":[]}', "'warnings' is there twice"),
    ],
)
def test_parse_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(fmt.FormatError, match=message):
        fmt.parse(data)


@pytest.mark.parametrize("field", ["metrics", "zz"])
def test_a_manifest_nested_to_any_depth_is_taken_or_refused(field: str) -> None:
    """A RecursionError ended the reader: JSON was read to more levels than were judged and written."""
    for depth in range(50, 1000, 25):
        value = b'{"a":' * depth + b"1" + b"}" * depth
        with suppress(fmt.FormatError):
            fmt.parse(altered(**{field: "here"}).replace(b'"here"', value))


def test_fields_of_a_later_writer_pass() -> None:
    """Once every deployed reader stopped at a field that it did not know, at any depth."""
    value = json.loads(fmt.canonical(manifest()))
    later = value | {
        "note": {"any": ["thing", None]},
        "bundle": value["bundle"] | {"host": "x"},
        "checks": [check | {"found": 3} for check in value["checks"]],
        "index": value["index"] | {"metric": "angular"},
        "files": {path: entry | {"codec": "zstd"} for path, entry in value["files"].items()},
        "min_reader": 1,
    }
    data = json.dumps(later, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert fmt.parse(data) == manifest()
    assert fmt.release_id(data) == "2017-09-30-" + hashlib.sha256(data).hexdigest()[:12]


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


@given(entries)
def test_entry_survives_its_json(entry: fmt.LedgerEntry) -> None:
    data = json.dumps(entry.to_json()).encode()
    assert fmt.parse_entry(data) == entry
    assert fmt.entry_of(entry.to_json(), entry.sequence) == entry


def good_entry(**changes: object) -> dict[str, object]:
    release = fmt.LedgerRelease(ID, DIGEST)
    entry = fmt.LedgerEntry(1, "publish", (release,), "2017-09-30", "me", "", "2017-10-01T02:41:07Z")
    return entry.to_json() | changes


def releases(*changes: dict[str, object]) -> dict[str, object]:
    named = {"release_id": ID, "manifest_sha256": DIGEST, "weight": 1}
    return {"releases": [named | change for change in changes]}


def test_an_entry_without_an_experiment_does_not_name_one() -> None:
    assert "experiment" not in good_entry()
    assert fmt.entry_of(good_entry(experiment=None)) == fmt.entry_of(good_entry())


@pytest.mark.parametrize(
    "change",
    [
        {"note": "x"},
        {"min_reader": 1, "approved_by": ["a", "b"]},
        releases({"arm": "a"}),
        {"experiment": {"name": "a", "salt": "b", "ends": "2017-12-01"}},
        {"kind": "approve"},
        {"written_at": "2017-10-01T02:41:07.123456+00:00"},
        {"reason": ""},
    ],
)
def test_what_a_later_writer_may_say_passes(change: dict[str, object]) -> None:
    """Once `"note": "x"` in a new entry stopped every deployed reader."""
    entry = fmt.parse_entry(json.dumps(good_entry(**change)).encode(), 1)
    assert entry.releases == (fmt.LedgerRelease(ID, DIGEST, 1),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "expected format 1, found 9; update the reader"),
        ({"format": "1"}, "expected format 1, found '1'"),
        ({"min_reader": 2}, "needs reader 2 .min_reader., this is reader 1; update the reader"),
        ({"min_reader": 3, "releases": {"a": 1}}, "needs reader 3"),
        ({"min_reader": 1.0}, "expected min_reader to be a whole number above 0, found 1.0"),
        ({"min_reader": True}, "expected min_reader"),
        ({"sequence": 2}, "expected sequence 1, found 2"),
        ({"sequence": 0}, "expected sequence to be"),
        ({"sequence": True}, "expected sequence to be"),
        ({"sequence": "1"}, "expected sequence to be"),
        ({"sequence": 10**12}, "expected sequence to be"),
        ({"kind": ""}, "expected kind to be a text that is not empty, found ''"),
        ({"kind": None}, "expected kind to be"),
        ({"releases": []}, "expected releases to be a list that is not empty"),
        ({"releases": {}}, "expected releases to be a list"),
        ({"releases": ["x"]}, "expected releases.0. to be an object, found 'x'"),
        ({"releases": [{}]}, "without releases.0..release_id"),
        (
            releases({"release_id": "../x"}),
            "expected releases.0..release_id to be a release id.*found '../x'",
        ),
        (releases({"release_id": "2017-99-99-0123456789ab"}), "releases.0..release_id"),
        (releases({"release_id": f"{ID}\n"}), "releases.0..release_id"),
        (releases({"release_id": ID.upper()}), "releases.0..release_id"),
        # null, and the manifest was not compared with the ledger
        (releases({"manifest_sha256": None}), "releases.0..manifest_sha256 to be 64 hex digits.*found None"),
        (releases({"manifest_sha256": ""}), "manifest_sha256"),
        (releases({"manifest_sha256": DIGEST[:-1]}), "manifest_sha256"),
        (releases({"manifest_sha256": DIGEST.upper()}), "manifest_sha256"),
        (releases({"manifest_sha256": 7}), "manifest_sha256"),
        (
            releases({}, OTHER | {"weight": 0}),
            "releases.1..weight to be a number above 0, found 0",
        ),
        (releases({"weight": -1}), "weight"),
        (releases({"weight": True}), "weight"),
        (releases({"weight": "1"}), "weight"),
        (releases({"weight": None}), "weight"),
        (releases({"weight": 10**400}), "weight"),
        (releases({"weight": 1e308}, OTHER | {"weight": 1e308}), "sum of weights"),
        (releases({}, {}), "expected releases to be different releases"),
        ({"as_of": "2017-13-01"}, "expected as_of to be a day"),
        ({"as_of": None}, "as_of"),
        # a slip of digits, and nothing was published for 90 years
        ({"as_of": "2107-09-30"}, "expected as_of to be 2017-09-30, the newest .*found '2107-09-30'"),
        ({"as_of": "2017-09-29"}, "expected as_of to be 2017-09-30"),
        (
            releases({}, OTHER) | {"as_of": "2017-09-29"},
            "expected as_of to be 2017-09-30",
        ),
        # the release was left as damaged, also where another entry named it right
        (
            releases({"manifest_sha256": OTHER["manifest_sha256"]}),
            f"expected releases.0..manifest_sha256 to be that of {ID}.*{DIGEST[:12]}, found 'ba9876543210",
        ),
        ({"actor": None}, "expected actor to be a text, found None"),
        ({"actor": HALF}, "expected actor to be a text"),
        ({"reason": 5}, "expected reason to be a text"),
        ({"written_at": "yesterday"}, "expected written_at to be a moment in UTC.*found 'yesterday'"),
        ({"written_at": "2017-10-01"}, "written_at"),
        ({"written_at": "2017-10-01T25:00:00Z"}, "written_at"),
        ({"written_at": "2017-10-01T02:00:00"}, "written_at"),
        ({"written_at": "2017-10-01T02:00:00+02:00"}, "written_at"),
        ({"written_at": 1506825667}, "written_at"),
        ({"experiment": "x"}, "expected experiment to be an object"),
        ({"experiment": {}}, "without experiment.name"),
        ({"experiment": {"name": "a"}}, "without experiment.salt"),
        (
            {"experiment": {"name": "a", "salt": ""}},
            "expected experiment.salt to be a text that is not empty",
        ),
        ({"experiment": {"name": "a", "salt": 1}}, "experiment.salt"),
        ({"experiment": {"name": "a", "salt": HALF}}, "experiment.salt"),
    ],
)
def test_entry_says_which_field_is_wrong(change: dict[str, object], message: str) -> None:
    assert fmt.entry_of(good_entry(), 1).releases == (fmt.LedgerRelease(ID, DIGEST),)
    with pytest.raises(fmt.FormatError, match=message):
        fmt.parse_entry(json.dumps(good_entry(**change)).encode(), 1)


@pytest.mark.parametrize("name", list(good_entry()))
def test_every_field_of_an_entry_is_required(name: str) -> None:
    value = good_entry()
    del value[name]
    with pytest.raises(fmt.FormatError, match=name):
        fmt.entry_of(value, 1)


@pytest.mark.parametrize(
    ("before", "after"), [(b'"weight": 1', b'"weight": 1e400'), (b'"weight": 1', b'"weight": 1, "weight": 2')]
)
def test_numbers_that_no_double_holds_and_names_that_are_there_twice(before: bytes, after: bytes) -> None:
    data = json.dumps(good_entry()).encode()
    assert before in data
    with pytest.raises(fmt.FormatError, match="weight"):
        fmt.parse_entry(data.replace(before, after), 1)


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"\xff\xfe", b'{"format":1', b"\x00" * 300])
def test_a_cut_entry_is_told(data: bytes) -> None:
    with pytest.raises(fmt.FormatError, match="ledger entry: expected"):
        fmt.parse_entry(data, 1)


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


def shared(one: str | None, other: str | None) -> float:
    """The part of 4,000 users that have the same arm of two under both salts."""
    return sum(fmt.arm(user, [1, 1], one) == fmt.arm(user, [1, 1], other) for user in range(4000)) / 4000


def test_experiments_in_turn_share_out_the_users_independently() -> None:
    """Once all users of a second experiment were in the arms of the first."""
    assert 0.46 < shared("spring", "summer") < 0.54
    assert 0.46 < shared(None, "summer") < 0.54
    assert shared("spring", "spring") == 1


def test_an_entry_uses_the_salt_of_its_experiment() -> None:
    value = good_entry(**releases({}, OTHER | {"weight": 3}))
    plain = fmt.entry_of(value)
    salted = fmt.entry_of(value | {"experiment": {"name": "a", "salt": "größer"}})
    for user in (1, "1", "ä", 2**63 - 1):
        assert plain.arm(user) == fmt.arm(user, [1, 3])
        assert salted.arm(user) == fmt.arm(user, [1, 3], "größer")


@given(st.integers() | texts, st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5), words)
def test_a_salt_keeps_the_shares(user: int | str, weights: list[float], salt: str) -> None:
    assert 0 <= fmt.arm(user, weights, salt) < len(weights)
    assert fmt.arm(user, weights, salt) == fmt.arm(str(user), weights, salt)


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
