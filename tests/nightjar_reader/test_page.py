"""The examples in docs/release-format.md are true, and it leaves out no name of the format."""

import dataclasses
import hashlib
import re
from pathlib import Path

import pytest

from nightjar_reader import format as fmt

PAGE = (Path(__file__).parents[2] / "docs" / "release-format.md").read_text(encoding="utf-8")
BUCKET_ROWS = re.findall(r"^\| `([^`]+)`[^|]*\| `([0-9a-f]{8})` \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
ARM_ROWS = re.findall(
    r"^\| `(\d+)` \| `([0-9a-f]{8})` \| ([\d.]+) \| (first|second) \| (first|second) \|$", PAGE, re.MULTILINE
)


def test_examples_are_found() -> None:
    assert (len(BUCKET_ROWS), len(ARM_ROWS)) == (8, 4)


@pytest.mark.parametrize(("id", "start", "number", "bucket"), BUCKET_ROWS)
def test_buckets(id: str, start: str, number: str, bucket: str) -> None:
    assert hashlib.sha256(id.encode()).hexdigest().startswith(start)
    assert int(start, 16) == int(number)
    assert fmt.bucket(id, 64) == int(bucket)


@pytest.mark.parametrize(("id", "middle", "share", "even", "uneven"), ARM_ROWS)
def test_arms(id: str, middle: str, share: str, even: str, uneven: str) -> None:
    assert hashlib.sha256(id.encode()).hexdigest()[8:16] == middle
    assert f"{int(middle, 16) / 2**32:.4f}" == share
    assert ("first", "second")[fmt.arm(id, [1, 1])] == even
    assert ("first", "second")[fmt.arm(int(id), [3, 1])] == uneven


def example(language: str) -> bytes:
    found = re.search(rf"^```{language}\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1].encode()


def test_manifest_and_ledger_entry() -> None:
    manifest = example("manifest")
    entry = fmt.parse_entry(example("json"))
    assert fmt.canonical(fmt.parse(manifest)) == manifest
    assert entry.releases == (fmt.LedgerRelease(fmt.release_id(manifest), fmt.sha256(manifest), 1),)
    assert f"`{fmt.release_id(manifest)}`" in PAGE
    assert fmt.ledger_path(entry.sequence) in PAGE


@pytest.mark.parametrize(
    "name",
    [
        *(field.name for field in dataclasses.fields(fmt.Manifest)),
        *(field.name for field in dataclasses.fields(fmt.LedgerEntry)),
        *fmt.LISTS_COLUMNS,
        *fmt.SIMILAR_COLUMNS,
        *fmt.POPULAR_COLUMNS,
        *fmt.ITEMS_COLUMNS,
        *(fmt.MANIFEST, fmt.POPULAR, fmt.ITEMS, fmt.INDEX, fmt.USER_FACTORS, fmt.ITEM_FACTORS),
    ],
)
def test_every_name_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE
