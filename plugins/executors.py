"""The executor of the night's tasks: Airflow's own, which can also take a task back."""

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
from airflow.executors.local_executor import LocalExecutor

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance


class RevokingExecutor(LocalExecutor):
    """A `LocalExecutor` by which a task whose worker has died before it began is queued anew.

    Airflow 3.3.2's own says of such a task for ever that it is queued: `revoke_task`, by which the
    scheduler takes tasks back after `task_queued_timeout`, is not implemented there.
    """

    def revoke_task(self, *, ti: "TaskInstance") -> None:
        """Forget a task, and kill the worker that has it and did not begin."""
        for worker in self._holders(str(ti.id)):
            worker.kill()
        self.queued_tasks.pop(ti.key, None)
        self.running.discard(ti.key)

    def _holders(self, task: str) -> list[psutil.Process]:
        """The workers that say in their title that they have a task; at most one."""
        found = []
        for pid in self.workers:
            with suppress(psutil.Error):
                worker = psutil.Process(pid)
                if " ".join(worker.cmdline()).strip().endswith(task):
                    found.append(worker)
        return found
