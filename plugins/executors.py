"""The executor of the night's tasks: Airflow's own, which can also take a task back."""

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
from airflow.executors.local_executor import LocalExecutor

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance


class RevokingExecutor(LocalExecutor):
    """A `LocalExecutor` that lets the scheduler queue a task anew whose worker died before it began.

    The scheduler calls `revoke_task` after `task_queued_timeout`. The `LocalExecutor` of Airflow 3.3.2
    has none, so the task stays queued for ever (apache/airflow#56240 gave the `EdgeExecutor` one).
    """

    def revoke_task(self, *, ti: "TaskInstance") -> None:
        """Forget a task, and kill the worker that took it but did not begin it."""
        for worker in self._holders(str(ti.id)):
            worker.kill()
        self.queued_tasks.pop(ti.key, None)
        self.running.discard(ti.key)

    def _holders(self, task: str) -> list[psutil.Process]:
        """The workers whose process title names a task; at most one."""
        holders = []
        for pid in self.workers:
            with suppress(psutil.Error):
                worker = psutil.Process(pid)
                if " ".join(worker.cmdline()).strip().endswith(task):
                    holders.append(worker)
        return holders
