"""The examples in docs/release-format.md are true, and it leaves out no name of the format."""

import dataclasses
import hashlib
import json
import re
import subprocess
from pathlib import Path
from shutil import which

import pytest

from nightjar_reader import format as fmt

PAGE = (Path(__file__).parents[2] / "docs" / "release-format.md").read_text(encoding="utf-8")
BUCKET_ROWS = re.findall(r"^\| `([^`]+)`[^|]*\| `([0-9a-f]{8})` \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
ARM_ROWS = re.findall(
    r"^\| `([^`]+)` \| (none|`[^`]+`) \| `([0-9a-f]{8})` \| ([\d.]+) \| (\d) \| (\d) \| (\d) \|$",
    PAGE,
    re.MULTILINE,
)
WEIGHTS = ([1, 1], [3, 1], [0.2, 0.3, 0.5])


def test_examples_are_found() -> None:
    assert (len(BUCKET_ROWS), len(ARM_ROWS)) == (8, 16)


@pytest.mark.parametrize(("id", "start", "number", "bucket"), BUCKET_ROWS)
def test_buckets(id: str, start: str, number: str, bucket: str) -> None:
    assert hashlib.sha256(id.encode()).hexdigest().startswith(start)
    assert int(start, 16) == int(number)
    assert fmt.bucket(id, 64) == int(bucket)


def arm_cases() -> list[tuple[str, str | None, list[float], int]]:
    """Id, salt, weights and arm of every vector of the page."""
    return [
        (id, None if salt == "none" else salt.strip("`"), weights, int(place))
        for id, salt, _, _, *places in ARM_ROWS
        for weights, place in zip(WEIGHTS, places, strict=True)
    ]


@pytest.mark.parametrize(("id", "salt", "weights", "place"), arm_cases())
def test_arms(id: str, salt: str | None, weights: list[float], place: int) -> None:
    assert fmt.arm(id, weights, salt) == place
    if re.fullmatch(r"-?\d+", id):
        assert fmt.arm(int(id), weights, salt) == place


@pytest.mark.parametrize(("id", "salt", "middle", "share"), [row[:4] for row in ARM_ROWS])
def test_shares(id: str, salt: str, middle: str, share: str) -> None:
    text = id if salt == "none" else f"{salt.strip('`')}:{id}"
    assert hashlib.sha256(text.encode()).hexdigest()[8:16] == middle
    assert f"{int(middle, 16) / 2**32:.4f}" == share


@pytest.mark.skipif(which("node") is None, reason="no node on this machine")
def test_javascript_computes_alike() -> None:
    arms = [[id, weights, salt] for id, salt, weights, _ in arm_cases()]
    buckets = [id for id, *_ in BUCKET_ROWS]
    program = f"""{example("javascript").decode()}
        const arms = {json.dumps(arms)}.map(([id, weights, salt]) => arm(id, weights, salt ?? undefined));
        console.log(JSON.stringify([arms, {json.dumps(buckets)}.map((id) => bucket(id, 64))]));"""
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        [place for *_, place in arm_cases()],
        [int(number) for *_, number in BUCKET_ROWS],
    ]


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
        *(field.name for field in dataclasses.fields(fmt.Experiment)),
        "min_reader",
        *fmt.LISTS_COLUMNS,
        *fmt.SIMILAR_COLUMNS,
        *fmt.POPULAR_COLUMNS,
        *fmt.ITEMS_COLUMNS,
        *(fmt.MANIFEST, fmt.POPULAR, fmt.ITEMS, fmt.INDEX, fmt.USER_FACTORS, fmt.ITEM_FACTORS),
    ],
)
def test_every_name_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE
