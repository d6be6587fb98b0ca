"""The TOML of a data set that nobody has written yet: each guess with what it rests on."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lake import expressions
from lake.errors import PermanentError
from lake.schemas import AMOUNT, EVENT_TS, EVENT_TYPE, ITEM, QUANTITY, USER
from lake.storage import open_storage
from nightjar.guesses import columns, paths
from nightjar.guesses import rows as raw_rows
from nightjar.guesses.columns import Column
from nightjar.guesses.paths import Found
from nightjar.guesses.rows import Rows
from nightjar.rawfiles import alike
from nightjar.rawfiles.samples import files_at

_LABELS: Final = (
    *("purchase", "purchased", "transaction", "buy", "bought", "order", "ordered", "checkout"),
    *("sale", "sold", "payment", "rating"),
)
_INTERESTED: Final = (
    *("addtocart", "cart", "atc", "basket", "addtobasket", "wishlist", "addtowishlist"),
    *("favorite", "favourite", "fav", "like", "save"),
)
_WEIGHTS: Final = dict.fromkeys(_LABELS, 1.0) | dict.fromkeys(_INTERESTED, 0.3)
_VIEW: Final = 0.1
_UNWANTED: Final = re.compile(r"^remove|refund|return|cancel|logout|login|error|heartbeat")
_RATED, _BOUGHT, _SEEN = "rating", "purchase", "event"
_FEW_ROWS: Final = 20
_WIDTH: Final = 110
_READY: Final = "_SUCCESS"
_FLOAT: Final = re.compile(r"\d+\.0+")
_FORMS: Final = {
    "Unicode form": ("unicode", "nfc"),
    "case": ("case", "upper"),
    "blanks": ("blanks", "collapse"),
    "a trailing .0": ("floats", "whole"),
    "leading zeros": ("zeros", "strip"),
}
"""The setting that makes one id of those that differ in something (`alike.FORMS`)."""


@dataclass(frozen=True)
class Key:
    """A line of a TOML: a key, its value, and why it has it."""

    name: str
    value: Any
    why: str = ""


@dataclass(frozen=True)
class Draft:
    """What a TOML says: the keys above the sections, and those of each section.

    Attributes
    ----------
    remarks
        What there is to know that no key says.
    """

    above: list[Key]
    sections: dict[str, list[Key]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def of_samples(places: Sequence[str], name: str = "") -> Draft:
    """Guess a data set from files or folders.

    Raises
    ------
    PermanentError
        When there is no file, none that can be read, or no column that may be user, item or stamp.
    """
    files = [f"{root}/{file}" for root, names in map(files_at, places) for file in names]
    found = paths.found_in(files)
    rows = raw_rows.first_of(files)
    roles = columns.roles(rows)
    if missing := [role for role in (USER, ITEM, EVENT_TS) if role not in roles]:
        raise PermanentError(
            f"{files[0]}: expected columns that may be {', '.join(missing)}, found "
            f"{', '.join(rows.columns)}; name files of events alone, or write the TOML by docs/data-sets.md"
        )
    ready = _READY if found.days and open_storage(files[0].rpartition("/")[0]).exists(_READY) else ""
    return _draft(name or _name(found), found, rows, roles, ready)


def _name(found: Found) -> str:
    """A name by the folder of the files."""
    folder = found.root.rstrip("/").rpartition("/")[2]
    text = re.sub(r"[^a-z0-9_-]+", "_", folder.casefold()).strip("_-")
    return text[:64] or "shop"


def _draft(name: str, found: Found, rows: Rows, roles: Mapping[str, Column], ready: str) -> Draft:
    stamps = columns.stamps(roles[EVENT_TS].name, rows)
    assert stamps  # without them a column is not taken for that of stamps
    kind, why = columns.id_type((roles[USER].name, roles[ITEM].name), rows)
    above = [
        Key("name", name, "that of the folder, where none was given"),
        _first_day(found, stamps),
        Key("id_type", kind, why),
        _repeats(rows, roles),
    ]
    sections = {
        "raw": list(_raw(found, rows, stamps, ready)),
        "raw.columns": [_column(role, roles) for role in roles],
        "raw.csv": [Key(key, value, why) for key, (value, why) in _dialect(rows, roles).items()],
        "raw.nested": [Key("explode", rows.explode, "the only array of objects")] if rows.explode else [],
        "events": list(_events(rows, roles)),
        "rules": list(_rules(rows, roles)),
        "rules.user_ids": list(_form(rows.columns[roles[USER].name])) if kind == "string" else [],
        "rules.item_ids": list(_form(rows.columns[roles[ITEM].name])) if kind == "string" else [],
    }
    kept = {name: keys for name, keys in sections.items() if keys}
    return Draft(above, kept, list(_remarks(found, rows, roles)))


def _first_day(found: Found, stamps: columns.Stamps) -> Key:
    if found.days:
        return Key(
            "first_day", found.days[0], "the first of these paths. UNSURE: name the first of all files"
        )
    return Key("first_day", stamps.days[0], "the first of these stamps. UNSURE: name the first of all")


def _column(role: str, roles: Mapping[str, Column]) -> Key:
    """A column of ours; a price of one piece times their number is an amount."""
    column = roles[role]
    if role == AMOUNT and QUANTITY in roles and columns.plain(column.name) in columns.UNIT_PRICES:
        factors = (_in_expression(roles[name].name) for name in (QUANTITY, AMOUNT))
        return Key(role, " * ".join(factors), "UNSURE: by its name it is the price of one piece")
    return Key(role, _alone(column.name), column.why)


def _alone(name: str) -> str:
    """A name as the value of a key, in backticks where it looks like an expression."""
    return f"`{name}`" if expressions.is_expression(name) else name


def _in_expression(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name) else f"`{name}`"


def _form(ids: Sequence[str | None]) -> Iterator[Key]:
    """One form for ids that are written in several ways, or as floats."""
    groups = alike.find(Counter(columns.given(ids)))
    for name, (key, value) in _FORMS.items():
        if group := next((group for group in groups if name in group.differ), None):
            yield Key(key, value, f"UNSURE: {' and '.join(map(repr, group.rows))} seem to be one")
        elif key == "floats" and (text := next((t for t in columns.given(ids) if _FLOAT.fullmatch(t)), "")):
            yield Key(key, value, f"ids such as {text} were whole numbers")


def _raw(found: Found, rows: Rows, stamps: columns.Stamps, ready: str) -> Iterator[Key]:
    yield Key("files", found.template, found.why)
    yield Key("format", rows.format, "what the file is" if rows.format != "csv" else "text with columns")
    if ready:
        folder = found.template.rpartition("/")[0]
        yield Key(
            "ready", f"{folder}/{ready}", "it lies beside the files; a day is waited for until it is there"
        )
    if stamps.forms:
        yield Key("stamps", list(stamps.forms), stamps.why)
    if stamps.is_local:
        why = "UNSURE: stamps name no zone; name that of the shop's clocks, as Europe/Berlin"
        yield Key("timezone", "UTC", why)


def _repeats(rows: Rows, roles: Mapping[str, Column]) -> Key:
    users, items = (rows.columns[roles[role].name] for role in (USER, ITEM))
    if len(set(zip(users, items, strict=True))) < len(users):
        return Key("repeats", True, "some user has an item twice")
    if EVENT_TYPE in roles or len(users) < _FEW_ROWS:
        return Key("repeats", True, "UNSURE: false where nobody takes an item twice, as a film")
    return Key("repeats", False, f"UNSURE: in {len(users):,} rows no user has an item twice, as with films")


def _events(rows: Rows, roles: Mapping[str, Column]) -> Iterator[Key]:
    if EVENT_TYPE not in roles:
        rated = any(columns.plain(name) in columns.RATINGS for name in rows.columns)
        name = _RATED if rated else _BOUGHT if {QUANTITY, AMOUNT} & roles.keys() else _SEEN
        yield Key("default", name, "no column tells types, so all rows are of this one")
        yield Key("weights", {name: 1.0})
        yield Key("labels", [name])
        return
    counts = Counter(columns.given(rows.columns[roles[EVENT_TYPE].name]))
    ignored = [name for name, _ in counts.most_common() if _UNWANTED.search(columns.plain(name))]
    kept = [name for name, _ in counts.most_common() if name not in ignored] or list(counts)
    weights = {name: _WEIGHTS.get(columns.plain(name), _VIEW) for name in kept}
    highest = max(weights.values())
    labels = [name for name, weight in weights.items() if weight == highest]
    yield Key("default", labels[0], "of rows that name no type")
    told = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    yield Key("weights", weights, f"UNSURE: weigh them as you like. Rows of each: {told}")
    yield Key("labels", labels, "UNSURE: what lists shall foresee")
    if ignored and len(ignored) < len(counts):
        yield Key("ignore", ignored, "UNSURE: they seem to be no interest in an item")


def _dialect(rows: Rows, roles: Mapping[str, Column]) -> dict[str, tuple[Any, str]]:
    if rows.format != "csv":
        return {}
    dialect = dict(rows.dialect)
    numbers = [
        value for role in (QUANTITY, AMOUNT) if role in roles for value in rows.columns[roles[role].name]
    ]
    texts = columns.given(numbers)
    comma = next((text for text in texts if re.fullmatch(r"[+-]?[\d.]+,\d+", text)), "")
    if comma:
        dialect["decimal"] = (",", f"as in {comma}")
        if grouped := next((text for text in texts if re.search(r"\d\.\d{3}(,|$)", text)), ""):
            dialect["thousands"] = (".", f"as in {grouped}")
    elif grouped := next(
        (text for text in texts if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text)), ""
    ):
        dialect["thousands"] = (",", f"as in {grouped}")
    words = Counter(text for values in rows.columns.values() for text in columns.given(values))
    if nulls := [word for word in ("NULL", "\\N", "null") if word in words]:
        dialect["nulls"] = (nulls, f"{nulls[0]} stands for no value")
    return dialect


def _rules(rows: Rows, roles: Mapping[str, Column]) -> Iterator[Key]:
    """A larger share of bad rows where many lack a user or an item."""
    needed = [rows.columns[roles[role].name] for role in (USER, ITEM)]
    lacking = sum(not all(value and value.strip() for value in pair) for pair in zip(*needed, strict=True))
    share = lacking / len(needed[0])
    if share > 0.005:
        why = (
            f"UNSURE: {share:.1%} of the rows lack a user or an item; by default more than 1% refuse the day"
        )
        yield Key("max_bad_share", min(1.0, round(1.5 * share + 0.01, 2)), why)


def _remarks(found: Found, rows: Rows, roles: Mapping[str, Column]) -> Iterator[str]:
    used = {column.name for column in roles.values()}
    yield f"These files lie below {found.root}: export NIGHTJAR_RAW={found.root}"
    if others := [name for name in rows.columns if name not in used]:
        yield f"Columns that nothing maps: {', '.join(others)}"


def text(draft: Draft, schema: str) -> str:
    """The TOML.

    Parameters
    ----------
    schema
        The path of the schema for editors, from the folder of the TOML.
    """
    lines = [
        f"#:schema {schema}",
        "# Guessed by `nightjar new-dataset`: look at what is UNSURE, then try it by",
    ]
    lines += ["# `nightjar check-config`. docs/data-sets.md explains each key.", "#"]
    lines += [f"# {_printable(remark)}" for remark in draft.remarks]
    lines += ["", *map(_line, draft.above)]
    for name, keys in draft.sections.items():
        lines += ["", f"[{name}]", *map(_line, keys)]
    return "\n".join([*lines, ""])


def _line(key: Key) -> str:
    """A key with why it has its value: behind it, or above it where the line would be long."""
    plain, why = f"{key.name} = {_toml(key.value)}", f"# {_printable(key.why)}"
    if not key.why:
        return plain
    beside = f"{plain:<36}  {why}"
    return beside if len(beside) <= _WIDTH else f"{why}\n{plain}"


def _printable(words: str) -> str:
    """Words for a comment, which has no control characters."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in words)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value) if isinstance(value, str | bool | float) else f"{value}"
