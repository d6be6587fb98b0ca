"""When the night runs, and which partition it then processes."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from airflow._shared.timezones.timezone import parse_timezone
from airflow.plugins_manager import AirflowPlugin
from airflow.serialization.encoders import encode_timezone
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable
from pendulum import DateTime
from pendulum.tz.timezone import FixedTimezone, Timezone


class NightlyPartitionTimetable(CronPartitionTimetable):
    """Whole days as partitions, each run at a tick some days later.

    Airflow's own cron partitions lie on the ticks, so that a backfill up to a day (its midnight)
    loses that day (https://github.com/apache/airflow/pull/68718 takes its bounds as instants), and a
    run triggered with a key is not seen as a scheduled one of the same day. Here every partition is a
    midnight, however its run came about.

    Parameters
    ----------
    cron
        When to run; at most one tick a day makes sense.
    timezone
        In which the tick is read and days begin.
    days_back
        How many days before the tick's day the partition lies; 1 is yesterday.
    key_format
        How a partition's key is written.
    """

    def __init__(
        self,
        cron: str,
        *,
        timezone: str | Timezone | FixedTimezone = "UTC",
        days_back: int = 1,
        key_format: str = "%Y-%m-%d",
    ) -> None:
        super().__init__(cron, timezone=timezone, key_format=key_format)
        self._days_back = days_back

    def serialize(self) -> dict[str, Any]:
        """The arguments, as JSON values."""
        return {
            "expression": self._expression,
            "timezone": encode_timezone(self._timezone),
            "days_back": self._days_back,
            "key_format": self._key_format,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> "NightlyPartitionTimetable":
        """The timetable that `serialize` described."""
        return cls(
            data["expression"],
            timezone=parse_timezone(data["timezone"]),
            days_back=data["days_back"],
            key_format=data["key_format"],
        )

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        """One run for each day from `earliest` to `latest`, both included: what a backfill makes."""
        current = self._midnight(self.localize_partition_datetime(earliest))
        last = self.localize_partition_datetime(latest)
        while current <= last:
            start = current.in_timezone("UTC")
            yield DagRunInfo(
                run_after=start,
                data_interval=None,
                partition_date=start,
                partition_key=self._format_key(start),
            )
            current = current.add(days=1)

    def _get_partition_date(self, *, run_date: DateTime) -> DateTime:
        return self._midnight(run_date).subtract(days=self._days_back).in_timezone("UTC")

    def _midnight(self, instant: DateTime) -> DateTime:
        return instant.in_timezone(self._timezone).start_of("day")


class NightjarTimetables(AirflowPlugin):
    """Makes the timetable known to every component of Airflow."""

    name = "nightjar_timetables"
    timetables = [NightlyPartitionTimetable]  # noqa: RUF012 (Airflow's own declaration is no ClassVar)
