"""Users with so many rows in a day that no customer has them.

Of the logarithms of the users' numbers of rows the median and the median deviation are taken. A user is a
bot who lies more than some deviations above the median, and has more rows than a floor. Logarithms keep
their order, so that all is reckoned in whole numbers and fractions: the same on any machine.
"""

import datetime as dt
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as fn

from lake.rule_sections import ExcludeSection
from lake.schemas import LANDED, USER
from spark_jobs.aside import Rows
from validation.rules import BOT

_NAMED: Final = 5
"""How many bots of a day are named."""
_LARGEST: Final = 2**63 - 1


def most_rows(users: Mapping[int, int], deviations: int, floor: int) -> int:
    """The most rows that a user may have.

    Parameters
    ----------
    users
        How many users have so many rows: rows -> users.
    deviations
        How many median deviations above the median a user may be.
    floor
        What every user may have.
    """
    median = _median({Fraction(rows): n for rows, n in users.items()})
    factors: dict[Fraction, int] = {}
    for rows, n in users.items():
        factor = max(rows / median, median / rows)
        factors[factor] = factors.get(factor, 0) + n
    return max(floor, int(median * _median(factors) ** deviations))


def _median(numbers: Mapping[Fraction, int]) -> Fraction:
    """The median, the lower of two, of numbers that occur so often."""
    half, seen = sum(numbers.values()) / 2, 0
    for number in sorted(numbers):
        seen += numbers[number]
        if seen >= half:
            return number
    raise ValueError("there is no median of nothing")


def find(rows: Rows, exclude: ExcludeSection) -> tuple[DataFrame | None, dict[dt.date, str]]:
    """The clean rows of bots as they are set aside, None without any; a sentence about those of each day."""
    counted = rows.clean.groupBy(LANDED, USER).agg(fn.count("*").alias("_rows")).persist()
    users: dict[dt.date, dict[int, int]] = {}
    for day, count, n in counted.groupBy(LANDED, "_rows").count().collect():
        users.setdefault(day, {})[count] = n
    assert exclude.bot_deviations
    most = {
        day: most_rows(of_day, exclude.bot_deviations, exclude.bot_min_rows) for day, of_day in users.items()
    }
    if not any(max(users[day]) > most[day] for day in users):
        return None, {}
    limits = [(day, min(limit, _LARGEST)) for day, limit in most.items()]
    limit = counted.sparkSession.createDataFrame(limits, f"{LANDED} DATE, _most BIGINT")
    bots = counted.join(fn.broadcast(limit), LANDED).where("_rows > _most").persist()
    aside = rows.set_aside(rows.clean.join(bots, [LANDED, USER], "left_semi"), "bot", fn.lit(BOT))
    return aside, _sentences(bots, most)


def _sentences(bots: DataFrame, most: Mapping[dt.date, int]) -> dict[dt.date, str]:
    """For each day how many bots there are, and the names of the busiest."""
    of_day = Window.partitionBy(LANDED)
    ranked = bots.withColumns(
        {
            "_all": fn.count("*").over(of_day),
            "_rank": fn.row_number().over(of_day.orderBy(fn.desc("_rows"), USER)),
        }
    )
    busiest: dict[dt.date, list[str]] = {}
    count: dict[dt.date, int] = {}
    for row in ranked.where(f"_rank <= {_NAMED}").orderBy(LANDED, "_rank").collect():
        busiest.setdefault(row[LANDED], []).append(f"{row[USER]} with {row['_rows']:,}")
        count[row[LANDED]] = row["_all"]
    return {
        day: f"{count[day]:,} users of more than {most[day]:,} rows: {', '.join(names)}"
        + (", ..." if count[day] > _NAMED else "")
        for day, names in busiest.items()
    }
