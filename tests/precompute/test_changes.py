import pyarrow as pa
import pytest

from lake.sections import ListsSection
from lake.storage import open_storage
from nightjar_reader import format as fmt
from precompute import build, changes
from precompute.changes import Changes
from recommender import userlists

SIZES = ListsSection(max_changed_share=0.5)


def put(root, name, of_user, buckets=2, id_type="int64"):
    """A release of lists alone: user -> items."""
    folder = root / fmt.release_path(name)
    schema = fmt.lists_schema(id_type)
    rows = [
        {"user_id": user, "item_ids": items, "scores": [0.0] * len(items), "fallback": 0, "code": None}
        for user, items in sorted(of_user.items())
    ]
    writer = userlists.Writer(folder, range(buckets), buckets, id_type)
    writer.add(pa.Table.from_pylist(rows, schema=schema))
    writer.close()
    nothing = fmt.Manifest("2024-01-01", "c", None, None, {}, (), {}, {}, (), None, (), {}, buckets)
    build.seal(folder, nothing)


def compared(root, current=("old",)):
    """Compare the release `new`, which lies where its manifest says once that is known."""
    storage, built = open_storage(root.as_uri()), (root / fmt.manifest_path("new")).read_bytes()
    (root / fmt.release_path("new")).rename(root / fmt.release_path(fmt.release_id(built)))
    named = [fmt.LedgerRelease(name, digest_of(root, name)) for name in current]
    return changes.compare(storage, built, named)


def digest_of(root, name):
    path = root / fmt.manifest_path(name)
    return fmt.sha256(path.read_bytes()) if path.exists() else "0" * 64


LONG = list(range(50))


def test_a_user_counts_whose_ten_first_items_or_their_order_differ(tmp_path):
    old = {1: LONG, 2: LONG, 3: [1, 2], 4: [], 5: [7], 6: [1, 2], 8: [1]}
    new = {1: LONG, 2: [*LONG[:10], 99], 3: [2, 1], 4: [], 5: [], 6: [1, 2, 3], 9: [1]}
    put(tmp_path, "old", old)
    put(tmp_path, "new", new, buckets=3)
    found = compared(tmp_path)
    assert found == Changes("old", users=6, top_ten_changed=3)
    (check,) = changes.check(found, SIZES)
    assert (check.name, check.severity, check.passed) == ("top_ten_changed_share", "warning", True)
    assert check.found == "3 of 6 users (50.00%) against old"
    assert not changes.check(found, ListsSection(max_changed_share=0.4))[0].passed


def test_ids_may_be_texts(tmp_path):
    put(tmp_path, "old", {"a": ["x", "y"], "b": ["x"]}, id_type="string")
    put(tmp_path, "new", {"a": ["x", "y"], "b": ["y"]}, id_type="string")
    assert compared(tmp_path) == Changes("old", users=2, top_ten_changed=1)


def test_without_a_user_in_both_nothing_changed(tmp_path):
    put(tmp_path, "old", {1: [1]})
    put(tmp_path, "new", {2: [1]})
    assert compared(tmp_path) == Changes("old")


def test_nothing_is_compared_with_nothing(tmp_path):
    put(tmp_path, "new", {2: [1]})
    found = compared(tmp_path, current=())
    assert found == Changes(None, reason="nothing was published before")
    assert changes.check(found, SIZES) == []


@pytest.mark.parametrize("damage", ["lists", "manifest", "gone", "other ids"])
def test_a_release_that_cannot_be_read_does_not_hold_up_the_next(tmp_path, damage):
    put(tmp_path, "new", {2: [1]})
    if damage == "other ids":
        put(tmp_path, "old", {"2": ["1"]}, id_type="string")
    elif damage != "gone":
        put(tmp_path, "old", {2: [1]})
        file = fmt.lists_path(0) if damage == "lists" else fmt.MANIFEST
        (tmp_path / fmt.release_path("old", file)).write_bytes(b"PAR1 no more")
    found = compared(tmp_path)
    assert found.before == "old"
    assert found.reason
    assert changes.check(found, SIZES) == []


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["old", "new"])
def test_damaged_lists_are_not_compared(tmp_path, name):
    """One bit was enough for another count of changed users, which was told as it was."""
    for each in ("old", "new"):
        put(tmp_path, each, {user: [user, *LONG] for user in range(40)})
    file = tmp_path / fmt.release_path(name, fmt.lists_path(0))
    flip_a_bit(file)
    found = compared(tmp_path)
    assert (found.before, found.users, found.top_ten_changed) == ("old", 0, 0)
    folder = "releases/old" if name == "old" else "releases/2024-01-01-"
    assert found.reason.startswith(f"ValueError: {folder}")
    assert "/lists/00.parquet: expected sha256 " in found.reason


def test_a_manifest_that_is_not_the_one_published_is_not_compared_by(tmp_path, monkeypatch):
    """It names the digests of the lists."""
    for each in ("old", "new"):
        put(tmp_path, each, {1: LONG})
    monkeypatch.setattr(f"{__name__}.digest_of", lambda root, name: "0" * 64)
    assert "old/manifest.json: expected sha256 0000" in compared(tmp_path).reason
