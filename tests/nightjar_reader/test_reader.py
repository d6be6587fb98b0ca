import hashlib
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pytest

from nightjar_reader import (
    BadId,
    CatalogueItem,
    FormatError,
    NoRelease,
    NotInThisRelease,
    Reader,
    ReaderError,
    search,
)
from nightjar_reader import (
    format as fmt,
)


def test_every_user_gets_their_row(tiny) -> None:
    reader = Reader(tiny.uri)
    assert reader.release_id == tiny.release_id
    for user, row in tiny.lists.items():
        found = reader.for_user(user)
        assert found.user_id == user
        assert list(found.items) == row["item_ids"]
        assert list(found.scores) == row["scores"]
        assert found.fallback == row["fallback"]
        assert found.release_id == tiny.release_id
    assert sorted(reader.users()) == sorted(tiny.lists)


def test_root_may_be_a_path(tiny) -> None:
    assert Reader(str(tiny.root)).release_id == tiny.release_id


@pytest.mark.parametrize("number", [-1, 1, 10**9])
def test_unknown_user_gets_popular_items_and_is_told(tiny, number: int) -> None:
    unknown = number if tiny.id_type == "int64" else f"id-{number:03d}"
    found = Reader(tiny.uri).for_user(unknown)
    assert list(found.items) == tiny.popular[None]["item_ids"]
    assert list(found.scores) == tiny.popular[None]["scores"]
    assert (found.user_id, found.fallback) == (unknown, 2)


def test_whole_number_as_text_serves_where_ids_are_numbers(build) -> None:
    tiny = build("int64")
    tiny.append(1)
    reader = Reader(tiny.uri)
    assert reader.for_user("6") == reader.for_user(6) == reader.for_user(np.int64(6))
    assert reader.for_user("6").fallback == tiny.lists[6]["fallback"]
    assert reader.for_user("6").user_id == 6
    for bad in ("six", "1.5", "1_0", "", " 6", "9" * 19, "\ud800", True, 6.0, None):
        with pytest.raises(BadId, match="found"):
            reader.for_user(bad)


@pytest.mark.parametrize("bad", [10**5000, -(10**5000)], ids=["large", "small"])
def test_a_number_that_has_no_text_is_no_id(tiny, bad: int) -> None:
    """It was the ValueError of Python's limit for digits."""
    with pytest.raises(BadId, match="found an int of too many digits"):
        Reader(tiny.uri).for_user(bad)


def test_a_text_that_has_no_bytes_is_no_id(build) -> None:
    """It was a UnicodeEncodeError."""
    tiny = build("string")
    tiny.append(1)
    reader = Reader(tiny.uri)
    for ask in (reader.for_user, reader.similar_items, lambda bad: reader.catalogue([bad])):
        with pytest.raises(BadId, match=r"found 'a\\ud800'"):
            ask("a\ud800")


def test_similar_items(tiny) -> None:
    reader = Reader(tiny.uri)
    for item, row in tiny.similar.items():
        found = reader.similar_items(item)
        assert (list(found.items), list(found.scores)) == (row["item_ids"], row["scores"])
        assert found.fallback == 0
    without_factors = tiny.items[-1]["item_id"]
    found = reader.similar_items(without_factors)
    assert (list(found.items), found.fallback) == (tiny.popular[None]["item_ids"], 2)


def test_popular(tiny) -> None:
    reader = Reader(tiny.uri)
    assert list(reader.popular().items) == tiny.popular[None]["item_ids"]
    assert list(reader.popular("north").items) == tiny.popular["north"]["item_ids"]
    assert reader.popular("north").segment == "north"
    assert reader.popular("south") == reader.popular()
    assert reader.popular().segment is None


def test_catalogue(tiny) -> None:
    first, last = tiny.items[0]["item_id"], tiny.items[-1]["item_id"]
    unknown = 7 if tiny.id_type == "int64" else "none"
    assert Reader(tiny.uri).catalogue([last, unknown, first]) == {
        first: CatalogueItem(first, "name 0", "food"),
        last: CatalogueItem(last, "name 29", "food"),
    }


def ids(tiny, codes: list[int]) -> list[int | str]:
    return [tiny.items[code]["item_id"] for code in codes]


def test_nearest_to_a_user_is_exact(tiny) -> None:
    user, row = list(tiny.lists.items())[4]
    scores = search.exact_scores(tiny.item_factors, tiny.user_factors[row["code"]])
    found = Reader(tiny.uri).nearest(6, user=user)
    assert list(found.items) == ids(tiny, np.argsort(-scores, kind="stable")[:6].tolist())
    assert list(found.scores) == sorted(scores.tolist(), reverse=True)[:6]
    assert found.exact


def cosines(tiny, code: int) -> np.ndarray:
    units = search.unit_rows(tiny.item_factors)
    scores = search.exact_scores(units, units[code])
    scores[code] = -2
    return scores


def test_nearest_to_an_item_by_the_index(tiny) -> None:
    scores = cosines(tiny, 3)
    found = Reader(tiny.uri).nearest(5, item=tiny.items[3]["item_id"])
    assert not found.exact
    assert list(found.items) == ids(tiny, np.argsort(-scores, kind="stable")[:5].tolist())
    assert list(found.scores) == sorted(scores.tolist(), reverse=True)[:5]


def test_a_negative_number_of_items_is_refused_as_it_was_asked_for(build) -> None:
    for one in (build(seed=1), build(seed=2, index=False)):
        with pytest.raises(ValueError, match="n is -2: expected at least 0"):
            Reader(one.uri, release_id=one.release_id).nearest(-2, item=500)


@pytest.mark.parametrize("n", [26, 27, 2**31, 10**30])
def test_more_items_than_there_are(build, n: int) -> None:
    """It was an OverflowError of the index for an item, and an answer for a user."""
    for one in (build(seed=1), build(seed=2, index=False)):
        reader = Reader(one.uri, release_id=one.release_id)
        assert len(reader.nearest(n, item=500).items) == 26
        assert len(reader.nearest(n, user=3).items) == min(n, 27)


def test_nearest_to_an_item_without_annoy_or_index(build, monkeypatch) -> None:
    tiny, bare = build(seed=1), build(seed=2, index=False)
    expected = ids(tiny, np.argsort(-cosines(tiny, 0), kind="stable")[:5].tolist())
    monkeypatch.setitem(sys.modules, "annoy", None)
    found = Reader(tiny.uri, release_id=tiny.release_id).nearest(5, item=500)
    assert (list(found.items), found.exact) == (expected, True)
    monkeypatch.undo()
    found = Reader(tiny.uri, release_id=bare.release_id).nearest(40, item=500)
    assert found.exact
    assert len(found.items) == 26
    assert 500 not in found.items


def test_nearest_says_what_the_release_lacks(build) -> None:
    tiny = build()
    reader = Reader(tiny.uri, release_id=tiny.release_id)
    with pytest.raises(NotInThisRelease, match="no factors of user 66"):
        reader.nearest(user=66)
    with pytest.raises(NotInThisRelease, match="no factors of user 7"):
        reader.nearest(user=7)
    with pytest.raises(NotInThisRelease, match="no factors of item 529"):
        reader.nearest(item=529)
    with pytest.raises(TypeError, match="either"):
        reader.nearest()


def test_release_without_factors(build) -> None:
    tiny = build(factors=False)
    tiny.append(1)
    reader = Reader(tiny.uri)
    assert list(reader.for_user(3).items) == tiny.lists[3]["item_ids"]
    assert reader.similar_items(500).fallback == 2
    assert list(reader.similar_items(500).items) == tiny.popular[None]["item_ids"]
    for query in ({"user": 3}, {"item": 500}):
        with pytest.raises(NotInThisRelease, match=r"has no user_factors\.npy"):
            reader.nearest(**query)


def test_highest_sequence_is_current_and_others_are_ignored(build) -> None:
    old, new = build(as_of="2017-09-29"), build(as_of="2017-09-30", seed=2)
    old.append(9)
    new.append(10)
    (new.root / "ledger/000000000099.tmp").write_text("{}")
    (new.root / "ledger/999.json").write_text("{}")
    reader = Reader(new.uri)
    assert (reader.release_id, reader.entry.sequence) == (new.release_id, 10)
    old.append(11, kind="rollback")
    assert reader.release_id == new.release_id
    assert reader.refresh()
    assert (reader.release_id, reader.entry.kind) == (old.release_id, "rollback")
    assert not reader.refresh()
    assert [entry.sequence for entry in reader.releases()] == [11, 10, 9]


def test_a_release_without_an_entry_is_not_published(build) -> None:
    tiny = build()
    with pytest.raises(NoRelease, match=r"nothing is published here.*nightjar run night"):
        Reader(tiny.uri)
    tiny.append(1)
    build(as_of="2017-10-01", seed=2)
    assert Reader(tiny.uri).release_id == tiny.release_id


def test_pin(build) -> None:
    old, new = build(as_of="2017-09-29"), build(as_of="2017-09-30", seed=2)
    new.append(1)
    reader = Reader(new.uri, release_id=old.release_id)
    assert (reader.release_id, reader.manifest.as_of, reader.entry) == (old.release_id, "2017-09-29", None)
    assert not reader.refresh()
    with pytest.raises(NoRelease, match="no such release"):
        Reader(new.uri, release_id="2017-09-29-000000000000")
    with pytest.raises(NoRelease, match="not a release id"):
        Reader(new.uri, release_id="../../etc")


@pytest.mark.parametrize("release_id", ["", " ", "2017-09-30", b"2017-09-30-e2e3e7e61032", 0, False])
def test_what_is_no_release_id_is_refused_by_name(build, release_id) -> None:
    """An empty one followed the ledger, in silence."""
    tiny = build()
    tiny.append(1)
    with pytest.raises(NoRelease, match=f"^{re.escape(repr(release_id))} is not a release id"):
        Reader(tiny.uri, release_id=release_id)


def test_refresh_that_fails_leaves_the_reader_as_it_was(build) -> None:
    tiny = build()
    tiny.append(1)
    reader = Reader(tiny.uri)
    (tiny.root / fmt.ledger_path(2)).write_text("{")
    with pytest.raises(FormatError, match="000000000002"):
        reader.refresh()
    assert reader.for_user(3).release_id == tiny.release_id


def test_refresh_keeps_what_it_has_read(build) -> None:
    one, two = build(seed=1), build(seed=2)
    one.append(1)
    reader = Reader(one.uri)
    before = reader.release
    one.append(2, one, two, weights=(1, 1))
    assert reader.refresh()
    assert reader.release is before


def test_two_releases_split_users_always_alike(build) -> None:
    one, two = build(seed=1), build(seed=2)
    one.append(1, one, two, weights=(1, 1))
    reader, again = Reader(one.uri), Reader(one.uri)
    arms = {user: reader.for_user(user).release_id for user in one.lists}
    assert set(arms.values()) == {one.release_id, two.release_id}
    for user, release_id in arms.items():
        assert release_id == (one, two)[fmt.arm(user, [1, 1])].release_id
        assert again.for_user(str(user)).release_id == release_id
    assert reader.popular().release_id == one.release_id


def test_a_split_that_begins_in_the_middle_of_an_answer(build) -> None:
    """Such an answer was the split's first arm, also for users of the other arms."""
    old, one, two = (build(as_of=f"2017-09-{day}", seed=day) for day in (28, 29, 30))
    old.append(1)
    reader = Reader(old.uri)
    before = reader._served
    one.append(2, one, two, weights=(1, 1))
    reader.refresh()
    later = reader._served
    turns = iter([before])

    class Moving(Reader):
        """Each look at what is served may find the ledger followed meanwhile."""

        @property
        def _served(self):
            return next(turns, later)

    reader.__class__ = Moving
    assert reader.for_user(3).release_id == old.release_id
    assert len({reader.for_user(user).release_id for user in old.lists}) == 2


def test_entries_that_cannot_be_read_are_named(build) -> None:
    tiny = build()
    tiny.append(1)
    path = tiny.root / fmt.ledger_path(1)
    path.rename(tiny.root / fmt.ledger_path(2))
    with pytest.raises(FormatError, match=r"000000000002\.json: ledger entry: expected sequence 2, found 1"):
        Reader(tiny.uri)
    (tiny.root / fmt.ledger_path(3)).write_text("{")
    with pytest.raises(FormatError, match=r"000000000003\.json: ledger entry: expected JSON"):
        Reader(tiny.uri)


def test_an_older_entry_that_is_damaged_is_told_and_left_out(build, caplog) -> None:
    """The listing raised FormatError for it; the search for a release before passed it over in silence."""
    oldest, old, new = (build(as_of=f"2017-09-{day}", seed=day) for day in (28, 29, 30))
    for sequence, release in enumerate([oldest, old, new], 1):
        release.append(sequence)
    (new.root / fmt.ledger_path(2)).write_text("{")
    reader = Reader(new.uri)
    for _ in range(2):
        assert [entry.sequence for entry in reader.releases()] == [3, 1]
    new.path(fmt.MANIFEST).unlink()
    again = Reader(new.uri)
    again.refresh()
    assert again.release_id == oldest.release_id
    told = [record.getMessage() for record in caplog.records if fmt.ledger_path(2) in record.getMessage()]
    assert len(told) == 2  # once for each reader
    assert "expected JSON" in told[0]
    assert "restore it" in told[0]


def test_the_newest_entry_is_never_left_out(build) -> None:
    tiny = build()
    tiny.append(1)
    reader = Reader(tiny.uri)
    (tiny.root / fmt.ledger_path(2)).write_text("{")
    with pytest.raises(FormatError, match="000000000002"):
        reader.releases()


def test_what_has_an_entrys_name_and_is_no_file_counts_for_nothing(build) -> None:
    tiny = build()
    tiny.append(1)
    (tiny.root / fmt.ledger_path(2)).mkdir()
    (tiny.root / fmt.ledger_path(3)).symlink_to(tiny.root / "nowhere")
    (tiny.root / fmt.ledger_path(4)).symlink_to(tiny.root)
    os.mkfifo(tiny.root / fmt.ledger_path(5))
    reader = Reader(tiny.uri)
    assert (reader.entry.sequence, [entry.sequence for entry in reader.releases()]) == (1, [1])
    assert not reader.refresh()


def test_a_ledger_that_is_no_folder_is_named(build) -> None:
    """It was a NotADirectoryError that names neither address nor remedy."""
    tiny = build()
    (tiny.root / fmt.LEDGER).write_text("")
    with pytest.raises(ReaderError, match=f"{tiny.uri}/ledger: expected a folder.*check"):
        Reader(tiny.uri)


def test_other_storages_are_refused() -> None:
    with pytest.raises(ReaderError, match="cannot read ftp:"):
        Reader("ftp://host/published")


def test_reads_open_only_what_they_need(tiny, monkeypatch) -> None:
    reader = Reader(tiny.uri)
    user = next(iter(tiny.lists))
    needed = {fmt.POPULAR, fmt.MANIFEST, fmt.lists_path(fmt.bucket(user, reader.manifest.buckets))}
    for path in tiny.path("").rglob("*.*"):
        if path.relative_to(tiny.path("")).as_posix() not in needed:
            path.unlink()
    assert list(reader.for_user(user).items) == tiny.lists[user]["item_ids"]


def test_unknown_names_of_the_package() -> None:
    import nightjar_reader

    with pytest.raises(AttributeError, match="no attribute 'Writer'"):
        _ = nightjar_reader.Writer


def test_threads_may_share_a_reader(tiny) -> None:
    reader = Reader(tiny.uri)
    users = list(tiny.lists) * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(reader.for_user, users))
    assert [answer.user_id for answer in found] == users
    assert [list(answer.items) for answer in found] == [tiny.lists[user]["item_ids"] for user in users]


def test_another_program_finds_the_same_row(tiny) -> None:
    """As docs/release-format.md says, with nothing of ours."""
    entry = json.loads(max((tiny.root / "ledger").glob("*.json")).read_bytes())
    folder = tiny.root / "releases" / entry["releases"][0]["release_id"]
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for user, row in tiny.lists.items():
        bucket = int(hashlib.sha256(str(user).encode()).hexdigest()[:8], 16) % manifest["buckets"]
        found = duckdb.execute(
            "SELECT item_ids, scores, fallback, code FROM read_parquet(?) WHERE user_id = ?",
            [str(folder / f"lists/{bucket:02d}.parquet"), user],
        ).fetchall()
        assert found == [(row["item_ids"], row["scores"], row["fallback"], row["code"])]
