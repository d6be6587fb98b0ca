"""What rows are set aside for that other rows say: copies, then bots, then settled returns."""

import datetime as dt
from dataclasses import dataclass, field

from pyspark.sql import DataFrame

from lake.rule_sections import RulesSection
from spark_jobs import bots, copies, returns
from spark_jobs.aside import Rows, alone
from spark_jobs.judge import Delivery


@dataclass(frozen=True)
class Found:
    """What other rows say of rows.

    Attributes
    ----------
    aside
        Rows that are set aside for it; None where there are none.
    smaller
        What is left of purchases that returns have made smaller; None where there are none.
    bots
        A sentence about the bots of each day.
    """

    aside: DataFrame | None
    smaller: DataFrame | None = None
    bots: dict[dt.date, str] = field(default_factory=dict)


def find(rows: Rows, delivery: Delivery, rules: RulesSection, before: Rows | None) -> Found:
    """Seek copies, then bots among the rows that are left, then returns among what is left of those.

    Parameters
    ----------
    before
        The rows of earlier days among which copies are sought too.
    """
    aside = copies.repeated(rows, delivery, before)
    if delivery.later and aside:
        aside = alone(aside)
    smaller: DataFrame | None = None
    of_bots: dict[dt.date, str] = {}
    if "bot" in delivery.later:
        more, of_bots = bots.find(rows.without(aside), rules.exclude)
        aside = _both(aside, more)
    if "netted" in delivery.later:
        more, smaller = returns.find(rows.without(aside), rules.net_by)
        aside = _both(aside, more)
    return Found(aside, smaller, of_bots)


def _both(one: DataFrame | None, other: DataFrame | None) -> DataFrame | None:
    return one.unionByName(other, allowMissingColumns=True) if one and other else one or other
