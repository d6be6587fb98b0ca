"""Great Expectations suites on what was staged: interactions, catalogue, features and lists.

Suites run on pandas frames in an ephemeral context, in BASIC result format. Each result is matched
to the rule that asked for it; a rule without a result has failed.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from lake.schemas import CATEGORY, EVENT_TS, FEATURE_KEYS, FEATURES, ITEM, LANDED, NAME, USER
from validation.gate import CRITICAL, WARNING, Check
from validation.rules import LAG, Expectation, Ruled, between, expectations_of, not_null, row_rules, unique

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_LARGEST: Final = 3.4e38
_RULE: Final = "rule"


def run_suite(frame: "pd.DataFrame", expectations: Sequence[Expectation]) -> list[Check]:
    """Ask Great Expectations about a frame.

    Parameters
    ----------
    frame
        Rows with every column that the expectations name.
    expectations
        What has to hold; their names are unique.

    Returns
    -------
    list of Check
        One for each expectation, in their order.
    """
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    asset = context.data_sources.add_pandas("staged").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name="suite", expectations=[_make(gx, e) for e in expectations])
    found = batch.validate(suite, result_format="BASIC")
    results = {result.expectation_config.meta[_RULE]: result for result in found.results}
    return [_check(expectation, results.get(expectation.name)) for expectation in expectations]


def _great_expectations() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx

    # This module sets a level of its own.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return gx


def _make(gx: Any, expectation: Expectation) -> Any:
    kind = getattr(gx.expectations, f"Expect{expectation.kind}")
    return kind(**expectation.arguments, severity=expectation.severity, meta={_RULE: expectation.name})


def _check(expectation: Expectation, result: Any) -> Check:
    expected = _words(expectation)
    if result is None:
        return Check(expectation.name, expectation.severity, False, "no result", expected)
    return Check(expectation.name, expectation.severity, bool(result.success), _found(result), expected)


def _words(expectation: Expectation) -> str:
    arguments = ", ".join(
        f"{name}={value}" for name, value in expectation.arguments.items() if value is not None
    )
    return f"{expectation.kind}({arguments})"


def _found(result: Any) -> str:
    if result.exception_info.get("raised_exception"):
        return f"an error: {result.exception_info.get('exception_message')}"
    told = result.result
    if "unexpected_count" not in told:
        return str(told.get("observed_value", "no figures"))
    some = ", ".join(str(value) for value in told.get("partial_unexpected_list", [])[:3])
    return f"{told['unexpected_count']} of {told['element_count']} rows against it" + (
        f" ({some})" if some else ""
    )


def check_interactions(frame: "pa.Table", data: Ruled) -> list[Check]:
    """Ask of staged interactions what the row rules left.

    Parameters
    ----------
    frame
        Columns of the interactions table and ``landed`` (date32), any number of days.
    """
    import pyarrow.compute as pc

    late = pc.days_between(pc.cast(frame[EVENT_TS], "date32"), frame[LANDED])
    asked = expectations_of(row_rules(data))
    used = {expectation.arguments["column"] for expectation in asked}
    columns = [name for name in frame.column_names if name in used]
    return run_suite(_pandas(frame.select(columns).append_column(LAG, late)), asked)


def check_catalogue(frame: "pa.Table") -> list[Check]:
    """Ask of a staged catalogue that items are there, once, and can be shown."""
    named = [not_null(NAME, WARNING), not_null(CATEGORY, WARNING)]
    return run_suite(_pandas(frame.select([ITEM, NAME, CATEGORY])), [not_null(ITEM), unique(ITEM), *named])


def check_features(table: str, frame: "pa.Table") -> list[Check]:
    """Ask of a staged feature table that keys are there, once, and that features are finite and not negative.

    Parameters
    ----------
    table
        One of `lake.schemas.FEATURES`.
    frame
        Its rows as of one day.
    """
    keys = list(FEATURE_KEYS[table])
    features = FEATURES[table]
    asked = [*(not_null(key) for key in keys), unique(*keys)]
    asked += [between(feature.name, 0, _LARGEST) for feature in features]
    asked += [not_null(feature.name) for feature in features if feature.absent == 0]
    names = keys + [feature.name for feature in features]
    return [_rows(table, frame), *run_suite(_pandas(frame.select(names)), asked)]


def _rows(what: str, frame: "pa.Table") -> Check:
    return Check(f"{what}_rows", CRITICAL, len(frame) > 0, f"{len(frame)} rows", "at least 1 row")


def check_lists(frame: "pa.Table", id_type: str, length: int) -> list[Check]:
    """Ask of a release's lists that each is whole, in order and without an item twice.

    Parameters
    ----------
    frame
        ``user_id``, ``item_ids`` (list of the id type), ``scores`` (list of float32),
        ``fallback`` (int8) and ``code`` (int32 or null), one row a user.
    id_type
        ``int64`` or ``string``.
    length
        The most items that a list may have.
    """
    faults = _list_faults(frame)
    asked = [
        not_null(USER),
        unique(USER),
        between("items", 1, length),
        *(between(name, 0, 0) for name in faults),
        not_null("fallback"),
        between("fallback", 0, 2),
        between("code", 0),
    ]
    import pyarrow.compute as pc

    derived = {"items": pc.list_value_length(frame["item_ids"]), **faults}
    columns = frame.select([USER, "fallback", "code"])
    for name, values in derived.items():
        columns = columns.append_column(name, values)
    return [_rows("lists", frame), *run_suite(_pandas(columns), asked)]


def _list_faults(frame: "pa.Table") -> dict[str, Any]:
    """How many faults each list has, of each kind (int64 arrays, one value a user)."""
    import numpy as np

    items, scores = (frame[name].combine_chunks() for name in ("item_ids", "scores"))
    ids = _codes(items.flatten())
    values = scores.flatten().to_numpy(zero_copy_only=False)
    lengths = _lengths(items)
    fits = lengths == _lengths(scores)
    owner = np.repeat(np.arange(len(frame)), lengths)
    faults = {"unequal_lengths": np.where(fits, 0, 1), "missing_items": _per_list(ids < 0, owner, len(frame))}
    if not fits.all():
        return {name: _arrow(counts) for name, counts in faults.items()}
    pairs = owner[1:] == owner[:-1]
    falls = values[1:] < values[:-1]
    ties = (values[1:] == values[:-1]) & (ids[1:] > ids[:-1])
    faults["out_of_order"] = _per_list(pairs & ~(falls | ties), owner[1:], len(frame))
    faults["not_finite"] = _per_list(~np.isfinite(values), owner, len(frame))
    order = np.lexsort((ids, owner))
    twice = (ids[order][1:] == ids[order][:-1]) & (owner[order][1:] == owner[order][:-1])
    faults["repeated_items"] = _per_list(twice, owner[order][1:], len(frame))
    return {name: _arrow(counts) for name, counts in faults.items()}


def _codes(ids: "pa.Array") -> Any:
    """Numbers in the order of the ids (strings by their UTF-8 bytes); -1 where an id is null."""
    import numpy as np
    import pyarrow.compute as pc

    distinct = pc.unique(ids).drop_null()
    ranked = distinct.take(pc.sort_indices(distinct))
    found = pc.index_in(ids, ranked).fill_null(-1)
    return np.asarray(found, dtype=np.int64)


def _lengths(lists: "pa.ListArray") -> Any:
    import numpy as np
    import pyarrow.compute as pc

    return np.asarray(pc.list_value_length(lists).fill_null(0), dtype=np.int64)


def _per_list(faulty: Any, owner: Any, users: int) -> Any:
    import numpy as np

    return np.bincount(owner[faulty], minlength=users)


def _arrow(counts: Any) -> "pa.Array":
    import pyarrow as pa

    return pa.array(counts, type=pa.int64())


def _pandas(frame: "pa.Table") -> "pd.DataFrame":
    """As pandas; decimals as doubles, which are precise enough to compare with bounds."""
    import pyarrow as pa

    types = [pa.float64() if pa.types.is_decimal(field.type) else field.type for field in frame.schema]
    schema = pa.schema([field.with_type(kind) for field, kind in zip(frame.schema, types, strict=True)])
    made: pd.DataFrame = frame.cast(schema, safe=False).to_pandas(date_as_object=False)
    return made


def named(prefix: str, checks: Iterable[Check]) -> list[Check]:
    """The same checks, their names led by what they were asked of."""
    return [Check(f"{prefix}.{c.name}", c.severity, c.passed, c.found, c.expected) for c in checks]
