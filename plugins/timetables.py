"""When the night runs, and which partition it then processes."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from airflow._shared.timezones.timezone import coerce_datetime
from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable
from pendulum import DateTime

from lake.partitions import ONE_DAY, UTC, begin_of, day_of, days


class NightlyPartitionTimetable(CronPartitionTimetable):
    """Whole days as partitions, each run at a tick some days later.

    Airflow's own cron partitions lie on the ticks, so that a backfill up to a day (its midnight)
    loses that day (https://github.com/apache/airflow/pull/68718 takes its bounds as instants), and a
    run triggered with a key is not seen as a scheduled one of the same day. Here every partition is the
    beginning of a day (`lake.partitions`), however its run came about.

    Parameters
    ----------
    cron
        When to run; at most one tick a day makes sense.
    timezone
        A name of the tz database: that of the clock of the tick, and of days.
    days_back
        How many days before the tick's day the partition lies; 1 is yesterday.
    key_format
        How a partition's key is written.
    """

    def __init__(
        self,
        cron: str,
        *,
        timezone: str = UTC,
        days_back: int = 1,
        key_format: str = "%Y-%m-%d",
    ) -> None:
        super().__init__(cron, timezone=timezone, key_format=key_format)
        self._zone = timezone
        self._days_back = days_back

    def serialize(self) -> dict[str, Any]:
        """The arguments, as JSON values."""
        return {
            "expression": self._expression,
            "timezone": self._zone,
            "days_back": self._days_back,
            "key_format": self._key_format,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> "NightlyPartitionTimetable":
        """The timetable that `serialize` described."""
        return cls(
            data["expression"],
            timezone=data["timezone"],
            days_back=data["days_back"],
            key_format=data["key_format"],
        )

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        """One run for each day from `earliest` to `latest`, both included: what a backfill makes."""
        for day in days(earliest.date(), latest.date()):
            start = self._begin(day)
            yield DagRunInfo(
                run_after=start,
                data_interval=None,
                partition_date=start,
                partition_key=day.strftime(self._key_format),
            )

    def _get_partition_date(self, *, run_date: DateTime) -> DateTime:
        return self._begin(day_of(run_date, self._zone) - self._days_back * ONE_DAY)

    def _decode_partition_date(self, partition_key: str) -> datetime:
        day = super()._decode_partition_date(partition_key).astimezone(self._timezone).date()
        return self._begin(day)

    def _begin(self, day: date) -> DateTime:
        return coerce_datetime(begin_of(day, self._zone))


class NightjarTimetables(AirflowPlugin):
    """Makes the timetable known to every component of Airflow."""

    name = "nightjar_timetables"
    timetables = [NightlyPartitionTimetable]  # noqa: RUF012 (Airflow's own declaration is no ClassVar)
