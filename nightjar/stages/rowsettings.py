"""Whether the days of a lake were all taken in by the same settings of rows.

A row's zone, columns, bounds and event types are read once, when its day is ingested. Where they
change, earlier days stay as they are until they are run again, and features sum both.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from lake.dataset import Dataset
from lake.partitions import UTC
from lake.records import Record
from validation.gate import WARNING, Check

DETAIL: Final = "row_settings"
# Settings that change no row: where files are, which days have none, and when a day is refused.
_OF_FILES: Final = {
    *("files", "format", "ready", "manifest"),
    *("closed_days", "closed_weekdays", "closed_calendar"),
}
_OF_DAYS: Final = {"min_rows", "max_rows", "max_bad_share", "max_bad_catalogue_share", "max_return_share"}


def digest_of(data: Dataset) -> str:
    """SHA-256 (hex) of the settings that decide what becomes of a raw row."""
    events = data.events
    rows: dict[str, Any] = {
        "id_type": data.id_type,
        "raw": data.raw.model_dump(mode="json", exclude=_OF_FILES),
        "catalogue": data.catalogue and data.catalogue.model_dump(mode="json", exclude=_OF_FILES),
        "rules": data.rules.model_dump(mode="json", exclude=_OF_DAYS),
        "events": [events.default, *map(sorted, (events.weights, events.ignore, events.labels))],
    }
    if data.zone != UTC:  # else days of before there was the setting would be of other ones
        rows["zone"] = data.zone
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def check(ingested: Sequence[Record], data: Dataset) -> Check:
    """Warn where days were taken in by other settings than the present ones."""
    now = digest_of(data)
    others = [record.partition for record in ingested if record.details.get(DETAIL, now) != now]
    span = f" ({others[0]} to {others[-1]})" if others else ""
    mend = (
        f": `nightjar bootstrap --from {others[0]} --to {others[-1]}` takes them in again" if others else ""
    )
    return Check(
        "days_of_one_setting",
        WARNING,
        not others,
        f"{len(others)} of {len(ingested)} by others{span}",
        f"all days taken in by the settings of rows as they are{mend}",
    )
