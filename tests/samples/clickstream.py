"""A sample of clickstream JSON as a sink of Kafka writes it: the layout of `config/clickstream.toml`.

    python tests/samples/clickstream.py FOLDER

Lines of JSON, gzipped, in a folder of each hour, with what such streams have: visitors without an id,
events that were sent twice, searches, lines that were cut, events that land in the hour after midnight,
and what Hadoop leaves beside the data.
"""

import datetime as dt
import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crowd import Crowd, Visit

FIRST, LAST = dt.date(2025, 3, 1), dt.date(2025, 3, 31)
CROWD = Crowd()
TEASER = "SKU-9999"  # in every visit's eyes, and nobody buys it
DEPARTMENTS = ("garden", "kitchen", "office", "sports")

Event = dict[str, Any]
Planted = dict[dt.date, Counter[str]]
"""Of each landed day how many rows there are of each kind."""


def sku(item: int) -> str:
    """The id of an item."""
    return f"SKU-{1000 + item}"


def user(person: int) -> str:
    """The id of a person."""
    return f"u{person:05d}"


def write(folder: Path) -> Planted:
    """Write the days and the catalogue; the same bytes each time."""
    planted: Planted = defaultdict(Counter)
    late: list[str] = []
    _put(folder / f"catalogue/{FIRST}.json.gz", [json.dumps(item) for item in _catalogue()])
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + dt.timedelta(days=offset)
        late = _write_day(folder, day, late, planted[day])
    return planted


def _catalogue() -> Iterator[Event]:
    for item in range(CROWD.items):
        department = DEPARTMENTS[CROWD.topic(item)]
        kind = {"department": department, "shelf": f"{department} {item // CROWD.topics % 4}"}
        yield {
            "sku": sku(item),
            "title": f"{department} thing {item}",
            "category": kind,
            "price": _price(item),
        }
    yield {"sku": TEASER, "title": "free trip", "category": {"department": "ads", "shelf": "ads"}, "price": 0}


def _price(item: int) -> float:
    return 5 + item % 17 + 0.99


def _write_day(folder: Path, day: dt.date, late: list[str], planted: Counter[str]) -> list[str]:
    """Write the hours of a day; gives the lines that land on the next."""
    lines: dict[int, list[str]] = defaultdict(list, {0: late})
    planted.update(clean=len(late))
    for visit in CROWD.visits(day):
        for event in _events(day, visit):
            lines[int(event["ts"][11:13])].append(json.dumps(event))
            planted["ignored" if event["type"] == "search" else "clean"] += 1
    noon, night = lines[12], _late_lines(day)
    noon += [_anonymous(noon[1]), noon[1][:-9], noon[1]]  # and one that was sent twice
    planted.update(bad=2, duplicate=1)
    for hour, texts in sorted(lines.items()):
        place = folder / f"clicks/{day:%Y/%m/%d}/{hour:02d}"
        half = len(texts) // 2
        _put(place / "clicks+0+0000000100.json.gz", texts[:half] or texts)
        if half:
            _put(place / "clicks+1+0000000200.json.gz", texts[half:])
        (place / "_SUCCESS").write_bytes(b"")
        (place / ".clicks+0+0000000100.json.gz.crc").write_bytes(b"crc\0")
    return night


def _events(day: dt.date, visit: Visit) -> Iterator[Event]:
    """A search, a look at the teaser and at each pick; the first ones go into the cart, and home."""
    for place, (kind, code) in enumerate(_steps(visit)):
        event = _event(day, visit, place, kind, code)
        if kind == "search":
            del event["item"]
        if kind == "purchase":
            event |= {"quantity": 1, "revenue": event["item"]["price"]}
        yield event


def _steps(visit: Visit) -> Iterator[tuple[str, str]]:
    yield "search", ""
    yield "view", TEASER
    for place, item in enumerate(visit.picks):
        yield "view", sku(item)
        if place < 2:
            yield "cart", sku(item)
        if place == 0:
            yield "purchase", sku(item)


def _event(day: dt.date, visit: Visit, place: int, kind: str, code: str) -> Event:
    at = dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=visit.second + 5 * place)
    return {
        "event_id": f"{day:%Y%m%d}-{visit.person}-{place}",
        "type": kind,
        "ts": f"{at.isoformat()}.250Z",
        "user": {"id": user(visit.person), "country": "DE"},
        "session": {"id": f"{day:%Y%m%d}-{visit.person}"},
        "item": {"sku": code, "price": _price(int(code[4:]) - 1000) if code else 0},
    }


def _anonymous(line: str) -> str:
    event = json.loads(line)
    return json.dumps(event | {"event_id": event["event_id"] + "-a", "user": {"id": None, "country": "DE"}})


def _late_lines(day: dt.date) -> list[str]:
    """A view a second before midnight, which lands after it."""
    if day == LAST:
        return []
    event = _event(day, Visit(0, 24 * 3600 - 1, (0,)), 0, "view", sku(0))
    return [json.dumps(event | {"event_id": f"{day:%Y%m%d}-late"})]


def _put(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
