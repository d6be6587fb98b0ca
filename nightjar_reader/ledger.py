"""Entries of the release ledger: which releases readers serve, and to whom."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightjar_reader.errors import FormatError
from nightjar_reader.fields import (
    DAY,
    FORMAT,
    LIST,
    OBJECT,
    POSITIVE,
    SHA256,
    STAMP,
    TEXT,
    WORD,
    Rule,
    check,
    is_day,
    is_number,
    optional,
    or_null,
    read_object,
    require,
    require_version,
)
from nightjar_reader.hashing import arm
from nightjar_reader.sequences import DIGITS

PUBLISH = "publish"
ROLLBACK = "rollback"

_WHAT = "ledger entry"
_DAY = len("YYYY-MM-DD")
_RELEASE_ID = re.compile(r"([0-9-]{10})-[0-9a-f]{12}")


def is_release_id(text: Any) -> bool:
    """Whether a value has the form of a release id."""
    match = _RELEASE_ID.fullmatch(text) if isinstance(text, str) else None
    return match is not None and is_day(match[1])


RELEASE_ID = Rule("a release id, YYYY-MM-DD and 12 hex digits", is_release_id)


@dataclass(frozen=True)
class LedgerRelease:
    """A release that an entry makes current; weights are relative."""

    release_id: str
    manifest_sha256: str
    weight: float = 1

    @property
    def key(self) -> tuple[str, str]:
        """Id and digest: an entry may name an id with a digest that is not the release's."""
        return self.release_id, self.manifest_sha256


@dataclass(frozen=True)
class Experiment:
    """What an entry's releases are compared for.

    Attributes
    ----------
    name
        For people.
    salt
        Part of the hash that assigns users: with the same salt everybody keeps the same arm.
    """

    name: str
    salt: str


@dataclass(frozen=True)
class LedgerEntry:
    """Which releases readers serve from this entry on.

    Attributes
    ----------
    kind
        `PUBLISH`, `ROLLBACK`, or a word of a later writer; readers treat all alike while none is damaged.
    """

    sequence: int
    kind: str
    releases: tuple[LedgerRelease, ...]
    as_of: str
    actor: str
    reason: str
    written_at: str
    format: int = FORMAT
    experiment: Experiment | None = None

    def arm(self, user_id: int | str) -> int:
        """The position of the user's release. The id must have the data set's own type."""
        salt = self.experiment.salt if self.experiment else None
        return arm(user_id, [release.weight for release in self.releases], salt)

    def to_json(self) -> dict[str, Any]:
        """The entry as a JSON object; one without an experiment has no such field."""
        value = dataclasses.asdict(self) | {"releases": [dataclasses.asdict(r) for r in self.releases]}
        return value if self.experiment else {name: value[name] for name in value if name != "experiment"}


_RULES = {
    "sequence": Rule(
        f"a number from 1 to {DIGITS} digits", lambda value: POSITIVE.holds(value) and value < 10**DIGITS
    ),
    "kind": WORD,
    "releases": Rule("a list that is not empty", lambda value: LIST.holds(value) and bool(value)),
    "as_of": DAY,
    "actor": TEXT,
    "reason": TEXT,
    "written_at": STAMP,
    "format": POSITIVE,
    "experiment": optional(or_null(OBJECT)),
}
_RELEASE = {
    "release_id": RELEASE_ID,
    "manifest_sha256": SHA256,
    "weight": Rule("a number above 0", lambda value: is_number(value) and value > 0),
}
_EXPERIMENT = {"name": WORD, "salt": WORD}


def parse_entry(data: bytes, sequence: int | None = None) -> LedgerEntry:
    """Read a ledger entry from the bytes of its file; see `entry_of`."""
    return entry_of(read_object(data, _WHAT), sequence)


def entry_of(value: Mapping[str, Any], sequence: int | None = None) -> LedgerEntry:
    """Read a ledger entry from its JSON object.

    Parameters
    ----------
    sequence
        The number in the file's name, which the entry's own must equal.

    Raises
    ------
    FormatError
        When it is of another format, asks for a newer reader, or has a field that is missing or
        wrong; the message names the field.
    """
    require_version(value, _WHAT)
    fields = check(dict(value), _RULES, _WHAT)
    experiment = fields.get("experiment")
    parts = {
        "releases": _releases(fields["releases"]),
        "experiment": None
        if experiment is None
        else Experiment(**check(experiment, _EXPERIMENT, _WHAT, "experiment")),
    }
    if sequence not in (None, fields["sequence"]):
        raise FormatError(f"{_WHAT}: expected sequence {sequence}, found {fields['sequence']}")
    entry = LedgerEntry(**fields | parts)
    newest = max(release.release_id[:_DAY] for release in entry.releases)
    day = Rule(f"{newest}, the newest day of its releases", lambda value: value == newest)
    require(entry.as_of, day, _WHAT, "as_of")
    return entry


def _releases(values: list[Any]) -> tuple[LedgerRelease, ...]:
    releases = tuple(
        LedgerRelease(**check(value, _RELEASE, _WHAT, f"releases[{at}]")) for at, value in enumerate(values)
    )
    for at, release in enumerate(releases):
        require(release.manifest_sha256, _digest_of(release), _WHAT, f"releases[{at}].manifest_sha256")
    ids = [release.release_id for release in releases]
    require(ids, Rule("different releases", lambda ids: len(set(ids)) == len(ids)), _WHAT, "releases")
    total = sum(float(release.weight) for release in releases)
    require(total, Rule("a number that a double can hold", math.isfinite), _WHAT, "sum of weights")
    return releases


def _digest_of(release: LedgerRelease) -> Rule:
    digits = release.release_id[_DAY + 1 :]
    return Rule(
        f"that of {release.release_id}, which begins with {digits}", lambda value: value.startswith(digits)
    )
