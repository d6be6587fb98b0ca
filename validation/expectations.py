"""Great Expectations suites on what was staged: interactions, catalogue, features and lists.

Rows are counted with Arrow (`validation.counts`); Great Expectations judges the counts, in an
ephemeral context. Each result carries the number of its rule (`_RULE`); a rule without a result has
failed.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import partitions
from lake.dataset import Dataset
from lake.feature_spec import FEATURES
from lake.partitions import UTC, begin_of, day_of
from lake.raw_sections import CatalogueColumns
from lake.schemas import CATEGORY, EVENT_TS, ITEM, LANDED, NAME, TABLES, USER
from validation.counts import Batches, Counter, Tally, in_batches, tally
from validation.gate import CRITICAL, WARNING, Check, Severity
from validation.rules import LAG, Expectation, between, expectations_of, not_null, row_rules, unique

K = TypeVar("K")

_LARGEST: Final = 3.4e38  # just below the largest float32: what is above is infinite
_RULE: Final = "rule"
_ITEMS: Final = "items"
_LIST_FAULTS: Final = ("unequal_lengths", "missing_items", "out_of_order", "not_finite", "repeated_items")
"""The last three are not counted where lengths are unequal."""


def run_suite(rows: Batches, expectations: Sequence[Expectation]) -> list[Check]:
    """Count the rows that break each expectation, and let Great Expectations judge.

    Returns
    -------
    list of Check
        One for each expectation, in their order.
    """
    return judge(tally(rows, expectations))


def judge_each(tallies: Mapping[K, Sequence[Tally]]) -> dict[K, list[Check]]:
    """`judge` for many tables in one suite."""
    checks = iter(judge([counted for group in tallies.values() for counted in group]))
    return {key: [next(checks) for _ in group] for key, group in tallies.items()}


def judge(tallies: Sequence[Tally]) -> list[Check]:
    """Let Great Expectations judge counts: no row may break a rule.

    It sees a frame of one row with a column for each rule, the number of rows that break it. A rule
    that could not be counted has no column, so that its expectation fails.

    Returns
    -------
    list of Check
        One for each tally, in their order.
    """
    import pandas as pd

    gx = load()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    counts = {f"{at}": [rule.against] for at, rule in enumerate(tallies) if rule.against is not None}
    asset = context.data_sources.add_pandas("staged").add_dataframe_asset("counts")
    definition = asset.add_batch_definition_whole_dataframe("all")
    expectations = [_make(gx, f"{at}", rule.expectation) for at, rule in enumerate(tallies)]
    batch = definition.get_batch({"dataframe": pd.DataFrame(counts, index=[0])})
    suite = gx.ExpectationSuite(name="suite", expectations=expectations)
    validated = batch.validate(suite, result_format="BASIC").results
    results = {result.expectation_config.meta[_RULE]: result for result in validated}
    return [_check(rule, results.get(f"{at}")) for at, rule in enumerate(tallies)]


def load() -> Any:
    """Great Expectations; its first import takes two seconds."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx

    # At its import this module sets a level of its own.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return gx


def _make(gx: Any, rule: str, expectation: Expectation) -> Any:
    # The maximum of a single value: an expectation about each value does three times the work.
    bounds = {"column": rule, "min_value": 0, "max_value": 0}
    return gx.expectations.ExpectColumnMaxToBeBetween(
        **bounds, severity=expectation.severity, meta={_RULE: rule}
    )


def _check(rule: Tally, result: Any) -> Check:
    expectation = rule.expectation
    passed, found = (False, "no result") if result is None else (bool(result.success), _describe(rule))
    return Check(expectation.name, expectation.severity, passed, found, _words(expectation))


def _words(expectation: Expectation) -> str:
    arguments = ", ".join(
        f"{name}={value}" for name, value in expectation.arguments.items() if value is not None
    )
    rows = (f", {column} being {' or '.join(values)}" for column, values in expectation.where.items())
    return f"{expectation.kind}({arguments})" + "".join(rows)


def _describe(rule: Tally) -> str:
    if rule.against is None:
        return f"{rule.rows} rows without this column"
    examples = ", ".join(map(str, rule.examples))
    return f"{rule.against} of {rule.rows} rows against it" + (f" ({examples})" if examples else "")


def check_interactions(rows: Batches, data: Dataset) -> list[Check]:
    """Check that staged interactions hold only what the row rules let pass.

    Parameters
    ----------
    rows
        Columns of the interactions table and ``landed`` (date32), any number of days.
    """
    return run_suite(_with_lag(rows, data.zone), expectations_of(row_rules(data)))


def _with_lag(rows: Batches, zone: str) -> Batches:
    """The same rows, and how many days after its event each has landed."""

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        needed = dict.fromkeys([*(name for name in columns if name != LAG), EVENT_TS, LANDED])
        for batch in rows(list(needed)):
            late = pc.days_between(_days(batch[EVENT_TS], zone), batch[LANDED])
            yield batch.append_column(LAG, late)

    return read


def _days(stamps: pa.Array, zone: str) -> pa.Array:
    """The days in which stamps lie."""
    if zone == UTC or stamps.null_count == len(stamps):
        return pc.cast(stamps, "date32")
    least, most = (day_of(stamp.as_py(), zone) for stamp in pc.min_max(stamps).values())
    days = list(partitions.days(least, most))
    begins = pa.array([begin_of(day, zone) for day in days], stamps.type)
    place = np.searchsorted(begins.view("int64"), pc.fill_null(stamps, begins[0]).view("int64"), "right") - 1
    shown = pa.array(days, pa.date32()).take(pa.array(place))
    return pc.if_else(pc.is_null(stamps), None, shown)


def check_catalogue(frame: pa.Table, columns: CatalogueColumns) -> list[Check]:
    """Check that a staged catalogue has each item once, that none lacks its id, and that all can be shown.

    Parameters
    ----------
    columns
        A name or category that the data set does not map is null in each item, and nothing is said of it.
    """
    shown = [not_null(name, WARNING) for name in (NAME, CATEGORY) if getattr(columns, name)]
    return run_suite(in_batches(frame), [not_null(ITEM), unique(ITEM), *shown])


def tally_features(table: str, rows: Batches, also: Sequence[Counter] = ()) -> list[Tally]:
    """Count the rows of a feature table without a whole key of their own, or with a feature out of bounds.

    Parameters
    ----------
    table
        One of `lake.feature_spec.FEATURES`.
    rows
        Its rows as of one day.
    also
        Other counters for the same pass.
    """
    keys = list(TABLES[table].key)
    features = FEATURES[table]
    expected = [*(not_null(key) for key in keys), unique(*keys)]
    expected += [between(feature.name, 0, _LARGEST) for feature in features]
    expected += [not_null(feature.name) for feature in features if feature.absent == 0]
    return tally(rows, expected, also)


def not_empty(what: str, rows: int, severity: Severity = CRITICAL) -> Check:
    """Check that a table is not empty."""
    return Check(f"{what}_rows", severity, rows > 0, f"{rows} rows", "at least 1 row")


def check_lists(rows: Batches, length: int) -> list[Check]:
    """Check that each list of a release is whole, in order and without an item twice.

    Parameters
    ----------
    rows
        ``user_id``, ``item_ids`` (list of the id type), ``scores`` (list of float32),
        ``fallback`` (int8) and ``code`` (int32 or null), one row a user.
    length
        The most items that a list may have.
    """
    expected = [
        not_null(USER),
        unique(USER),
        not_null(_ITEMS),
        between(_ITEMS, 0, length),
        *(between(name, 0, 0) for name in _LIST_FAULTS),
        not_null("fallback"),
        between("fallback", 0, 2),
        between("code", 0),
    ]
    tallies = tally(_with_list_faults(rows), expected)
    return [not_empty("lists", tallies[0].rows), *judge(tallies)]


def _with_list_faults(rows: Batches) -> Batches:
    """The same rows, with the length of each list and how many faults of each kind it has."""

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        derived = {_ITEMS, *_LIST_FAULTS}
        plain = [name for name in columns if name not in derived]
        if not derived & set(columns):
            yield from rows(plain)
            return
        for batch in rows([*plain, "item_ids", "scores"]):
            made = {_ITEMS: pc.list_value_length(batch["item_ids"]), **_list_faults(batch)}
            yield pa.record_batch({name: batch[name] for name in plain} | made)

    return read


def _list_faults(batch: pa.RecordBatch) -> dict[str, Any]:
    """How many faults of each kind each list has (int64 arrays, one value a user)."""
    items, scores = batch["item_ids"], batch["scores"]
    ids = _codes(items.flatten())
    values = scores.flatten().to_numpy(zero_copy_only=False)
    lengths = _lengths(items)
    fits = lengths == _lengths(scores)
    owner = np.repeat(np.arange(len(batch)), lengths)
    faults = dict.fromkeys(_LIST_FAULTS, np.zeros(len(batch), np.int64))
    faults |= {
        "unequal_lengths": np.where(fits, 0, 1),
        "missing_items": _per_list(ids < 0, owner, len(batch)),
    }
    if fits.all():
        pairs = owner[1:] == owner[:-1]
        falls = values[1:] < values[:-1]
        ties = (values[1:] == values[:-1]) & (ids[1:] > ids[:-1])
        faults["out_of_order"] = _per_list(pairs & ~(falls | ties), owner[1:], len(batch))
        faults["not_finite"] = _per_list(~np.isfinite(values), owner, len(batch))
        order = np.lexsort((ids, owner))
        twice = (ids[order][1:] == ids[order][:-1]) & (owner[order][1:] == owner[order][:-1])
        faults["repeated_items"] = _per_list(twice, owner[order][1:], len(batch))
    return {name: pa.array(counts, pa.int64()) for name, counts in faults.items()}


def _codes(ids: pa.Array) -> Any:
    """Numbers in the order of the ids (strings by their UTF-8 bytes); -1 where an id is null."""
    distinct = pc.unique(ids).drop_null()
    ranked = distinct.take(pc.sort_indices(distinct))
    return np.asarray(pc.index_in(ids, ranked).fill_null(-1), dtype=np.int64)


def _lengths(lists: pa.ListArray) -> Any:
    return np.asarray(pc.list_value_length(lists).fill_null(0), dtype=np.int64)


def _per_list(faulty: Any, owner: Any, users: int) -> Any:
    return np.bincount(owner[faulty], minlength=users)


def named(prefix: str, checks: Iterable[Check]) -> list[Check]:
    """The same checks, with a prefix before their names."""
    return [Check(f"{prefix}.{c.name}", c.severity, c.passed, c.found, c.expected) for c in checks]
