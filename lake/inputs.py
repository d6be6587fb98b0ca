"""What each stage reads, found from records; and whether a record is fresh.

Features read the current ingest records of the days up to D. Train and precompute read features,
and interactions and catalogue *through the pins* of D's feature record, so that no stage mixes
two states of a day.
"""

import datetime as dt
from collections.abc import Iterable

from lake import decisions
from lake.dataset import Dataset
from lake.errors import PermanentError
from lake.records import STAGES, Input, Record, Records, config_digest, fingerprint
from lake.schemas import FEATURES


def label_window(data: Dataset) -> dt.timedelta:
    """How long labels are looked for after an as-of day, and how far snapshots lie apart."""
    return dt.timedelta(days=data.training.label_days)


def ingested(records: Records, day: dt.date, data: Dataset) -> list[Record]:
    """The current ingest records of the data set's days up to `day`, in order; none before its first day."""
    return [record for record in records.all_current("ingest", day) if record.day >= data.first_day]


def table_input(record: Record, table: str) -> Input:
    """A table of a record, as an input of what reads it."""
    return Input(table, record.tables[table].digest, record.partition, record.sequence)


def feature_inputs(taken: Iterable[Record], day: dt.date) -> tuple[Input, ...]:
    """Interactions of the days up to `day`, and the newest catalogue delivered by then.

    Parameters
    ----------
    taken
        Current ingest records in order of days.
    """
    seen = [record for record in taken if record.day <= day]
    catalogues = [record for record in seen if "catalogue" in record.tables]
    newest = [table_input(record, "catalogue") for record in catalogues[-1:]]
    return (*(table_input(record, "interactions") for record in seen), *newest)


def snapshot_days(day: dt.date, data: Dataset) -> list[dt.date]:
    """The as-of days before D that training needs, oldest first: D-W (k+1), ..., D-W.

    W is the label window.
    """
    asked = (day - (back + 1) * label_window(data) for back in range(data.training.snapshots, -1, -1))
    return [snapshot for snapshot in asked if snapshot >= data.first_day]


def train_inputs(records: Records, features: Record, data: Dataset) -> tuple[Input, ...]:
    """Features of D and of its snapshots, and the pinned interactions (labels) and catalogue."""
    snapshots = [records.current("features", day) for day in snapshot_days(features.day, data)]
    read = [record for record in snapshots if record] + [features]
    tables = tuple(table_input(record, table) for record in read for table in FEATURES)
    first_label = min(record.day for record in read)
    labels = (
        i for i in features.inputs_of("interactions") if dt.date.fromisoformat(i.partition) > first_label
    )
    return (*tables, *labels, *features.inputs_of("catalogue"))


def features_of(records: Records, day: dt.date, stage: str) -> Record:
    """The current feature record of a day.

    Parameters
    ----------
    stage
        The stage that needs it, for the message.

    Raises
    ------
    PermanentError
        When there is none.
    """
    found = records.current("features", day)
    if found is None:
        raise PermanentError(
            f"{stage} {day}: there is no feature record of that day; "
            f"run `nightjar run features --partition {day}` first"
        )
    return found


def precompute_inputs(features: Record, decision: Record | None) -> tuple[Input, ...]:
    """Features and pinned catalogue of D, and the decision's bundle."""
    tables = tuple(table_input(features, table) for table in FEATURES)
    bundle = (
        ()
        if decision is None
        else (Input("bundle", _digest(decision), decision.partition, decision.sequence),)
    )
    return (*tables, *features.inputs_of("catalogue"), *bundle)


def _digest(decision: Record) -> str:
    return decisions.digest(decision, STAGES["features"].version)


def current_inputs(stage: str, records: Records, day: dt.date, data: Dataset) -> tuple[Input, ...] | None:
    """What the stage would read if it ran now; None where its own inputs are missing."""
    if stage == "features":
        return feature_inputs(ingested(records, day, data), day)
    features = records.current("features", day)
    if features is None:
        return None
    return (
        train_inputs(records, features, data)
        if stage == "train"
        else precompute_inputs(features, decisions.serving(records, day))
    )


def is_fresh(stage: str, records: Records, day: dt.date, data: Dataset) -> bool:
    """Whether the current record is what running the stage now would give."""
    record = records.current(stage, day)
    inputs = current_inputs(stage, records, day, data)
    if record is None or inputs is None:
        return False
    return record.fingerprint == fingerprint(STAGES[stage].version, config_digest(stage, data), inputs)
