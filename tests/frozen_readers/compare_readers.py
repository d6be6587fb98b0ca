"""Every answer of a reader, so that two readers of one releases root can be compared."""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FROZEN = sorted(path.name for path in HERE.glob("nightjar_reader_v*") if path.is_dir())
CURRENT = "nightjar_reader"


def answers(package: str, uri: str) -> dict[str, Any]:
    """All that the reader of a package says of the releases at an address."""
    reader = import_module(package).Reader(uri)
    users = list(reader.users())
    strange = type(users[0])(987654321)
    items = sorted({item for user in users for item in reader.for_user(user).items})
    return {
        "entries": [entry.to_json() for entry in reader.releases()],
        "release": reader.release_id,
        "manifest": asdict(reader.manifest),
        "users": users,
        "lists": [asdict(reader.for_user(user)) for user in [*users, strange]],
        "similar": [asdict(reader.similar_items(item)) for item in [*items, strange]],
        "popular": [asdict(reader.popular(segment)) for segment in (None, "north")],
        "catalogue": {id: asdict(item) for id, item in reader.catalogue([*items, strange]).items()},
        "near users": [nearest(reader, user=user) for user in users],
        "near items": [nearest(reader, item=item) for item in items],
    }


def nearest(reader: Any, **of: Any) -> Any:
    """What `nearest` answers, or the name of the error that says why there is no answer."""
    try:
        return asdict(reader.nearest(5, **of))
    except Exception as error:
        return type(error).__name__
