"""The sensors of the night: they ask `waits` at every poke and hold no slot in between."""

import datetime as dt
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import waits
from airflow.sdk import BaseSensorOperator
from failures import reported

from lake.errors import FileFault
from lake.lake import Lake
from lake.partitions import resolve, utc_now
from lake.settings import load

if TYPE_CHECKING:
    from airflow.sdk import Context

NEVER = dt.timedelta(days=365)
# A scheduler that learns late of the end of a poke, when the next is already queued, counts a failed try.
# Such tries must not end the night. The supervisor may learn of it `min_heartbeat_interval` late, the
# scheduler when it is busy (Airflow 3.3.2: https://github.com/apache/airflow/issues/71172, open).
RETRIES = 20


class WaitSensor(BaseSensorOperator):
    """Waits for what `look` returns; when the time of that wait is over, goes on or fails.

    How long it waits is a setting, read at every poke, so Airflow's own `timeout` is never reached.
    """

    def __init__(self, **kwargs: Any) -> None:
        pause = load().poke_interval
        ours = {"poke_interval": pause, "timeout": NEVER, "retries": RETRIES, "retry_delay": pause}
        super().__init__(**kwargs | ours, mode="reschedule")

    @abstractmethod
    def look(self, poke: waits.Poke, context: "Context") -> waits.Pending | None:
        """What is not there yet; None when there is nothing to wait for."""

    def poke(self, context: "Context") -> bool:
        """Look once.

        Raises
        ------
        AirflowFailException
            When what the night needs is not there in time; the message names it.
        """
        with reported():
            now, settings = utc_now(), load()
            first = context["ti"].get_first_reschedule_date(context) or now
            poke = waits.Poke(resolve(context), Lake.open(settings), settings, first, now)
            return self._is_over(self.look(poke, context), now)

    def _is_over(self, pending: waits.Pending | None, now: dt.datetime) -> bool:
        if pending is None:
            return True
        if now < pending.until:
            self.log.info(
                "waiting for %s, until %s at most", pending.what, f"{pending.until:%Y-%m-%d %H:%M:%S} UTC"
            )
            return False
        if pending.needed:
            raise FileFault(f"{pending.what}: found nothing there; put it there and clear this task")
        self.log.warning(
            "going on without %s: waited until %s", pending.what, f"{pending.until:%H:%M:%S} UTC"
        )
        return True


class RawDaySensor(WaitSensor):
    """Waits for the raw files of the day; fails when none or no marker comes, else goes on without."""

    def look(self, poke: waits.Poke, context: "Context") -> waits.Pending | None:
        """See `waits.raw_day`."""
        return waits.raw_day(poke)


class HistorySensor(WaitSensor):
    """Waits for the ingest records of the days before; goes on with those there are."""

    def look(self, poke: waits.Poke, context: "Context") -> waits.Pending | None:
        """See `waits.history`."""
        return waits.history(poke)


class PreviousDecisionSensor(WaitSensor):
    """Waits for the decision of the night before; goes on with the newest earlier one."""

    def look(self, poke: waits.Poke, context: "Context") -> waits.Pending | None:
        """See `waits.previous_decision`."""
        return waits.previous_decision(poke)


class DecisionSensor(WaitSensor):
    """Waits until `decide` of this run has ended; goes on with the newest earlier decision.

    Parameters
    ----------
    decide
        The id of that task.
    """

    def __init__(self, *, decide: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decide = decide

    def look(self, poke: waits.Poke, context: "Context") -> waits.Pending | None:
        """See `waits.decision`."""
        ti, run = context["ti"], context["dag_run"].run_id
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[self.decide], run_ids=[run])
        return waits.decision(poke, states.get(run, {}).get(self.decide))
