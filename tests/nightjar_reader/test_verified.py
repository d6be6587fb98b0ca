import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nightjar_reader import FormatError, NoUsableRelease, Reader, ReleaseCorrupt
from nightjar_reader import format as fmt


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def change_one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


ASKED: list[tuple[str, Callable[[Reader], object]]] = [
    (fmt.lists_path(fmt.bucket(3, 4)), lambda reader: reader.for_user(3)),
    (fmt.similar_path(fmt.bucket(500, 4)), lambda reader: reader.similar_items(500)),
    (fmt.POPULAR, lambda reader: reader.popular()),
    (fmt.ITEMS, lambda reader: reader.catalogue([500])),
    (fmt.USER_FACTORS, lambda reader: reader.nearest(user=3)),
    (fmt.ITEM_FACTORS, lambda reader: reader.nearest(user=3)),
    (fmt.INDEX, lambda reader: reader.nearest(item=500)),
]


@pytest.mark.parametrize("damage", [cut, change_one_byte, lengthen, Path.unlink])
@pytest.mark.parametrize(("file", "ask"), ASKED, ids=[file for file, _ in ASKED])
def test_a_damaged_file_gives_no_answer(build, file: str, ask, damage) -> None:
    tiny = build()
    tiny.append(1)
    ask(Reader(tiny.uri))
    damage(tiny.path(file))
    with pytest.raises(NoUsableRelease) as raised:
        ask(Reader(tiny.uri))
    assert list(raised.value.tried) == [tiny.release_id]
    expected = Reader(tiny.uri).manifest.files[file]
    assert raised.value.file.endswith(f"releases/{tiny.release_id}/{file}")
    assert raised.value.expected == f"{expected.bytes} bytes, sha256 {expected.sha256}"
    assert raised.value.found != raised.value.expected
    assert "roll back" in str(raised.value)


def test_all_files_on_request(tiny) -> None:
    Reader(tiny.uri).release.verify()
    change_one_byte(tiny.path(fmt.lists_path(2)))
    with pytest.raises(ReleaseCorrupt, match=r"lists/02\.parquet"):
        Reader(tiny.uri).release.verify()


def test_verification_can_be_left_out(build) -> None:
    tiny = build(seed=3)
    tiny.append(1)
    lengthen(tiny.path(fmt.USER_FACTORS))
    assert len(Reader(tiny.uri, verify=False).nearest(4, user=3).items) == 4
    with pytest.raises(ReleaseCorrupt):
        Reader(tiny.uri).nearest(4, user=3)


def test_altered_manifest_is_refused(tiny) -> None:
    value = json.loads(tiny.manifest)
    value["counts"]["users"] += 1
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    tiny.path(fmt.MANIFEST).write_text(text, encoding="utf-8")
    for pinned in (None, tiny.release_id):
        with pytest.raises(ReleaseCorrupt, match=r"manifest\.json") as raised:
            Reader(tiny.uri, release_id=pinned, verify=False)
        assert fmt.sha256(text.encode()) in raised.value.found


def test_manifest_of_another_release_is_refused(build) -> None:
    one, two = build(seed=1), build(seed=2)
    one.append(1)
    one.path(fmt.MANIFEST).write_bytes(two.manifest)
    with pytest.raises(ReleaseCorrupt, match="expected sha256"):
        Reader(one.uri)


def test_day_in_the_id_must_be_the_manifests(build) -> None:
    tiny = build(as_of="2017-09-30")
    other = f"2017-10-01-{tiny.release_id[-12:]}"
    tiny.path("").rename(tiny.root / fmt.release_path(other))
    with pytest.raises(ReleaseCorrupt, match=f"the manifest of {other}"):
        Reader(tiny.uri, release_id=other)


def test_newer_format_asks_for_a_newer_reader(build) -> None:
    tiny = build()
    manifest = tiny.manifest.replace(b'"format":1', b'"format":2')
    release_id = f"2017-09-30-{fmt.sha256(manifest)[:12]}"
    tiny.path("").rename(tiny.root / fmt.release_path(release_id))
    (tiny.root / fmt.manifest_path(release_id)).write_bytes(manifest)
    with pytest.raises(FormatError, match="expected format 1, found 2; update the reader"):
        Reader(tiny.uri, release_id=release_id)
