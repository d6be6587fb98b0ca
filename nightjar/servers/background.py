"""Background processes that can be ended with everything that they have started.

Each leads a session of its own.
"""

import logging
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from lake.processes import end, in_sessions, is_running

log = logging.getLogger(__name__)

STOP_SECONDS = 20  # then SIGKILL: whoever stops Airflow waits for it


@dataclass(frozen=True)
class Component:
    """A session leader.

    Attributes
    ----------
    name
        Its name for people.
    pid, started, boot
        Its process id, its start and the boot of the machine: an id alone is used again.
    log
        The file that has its output.
    """

    name: str
    pid: int
    started: int
    boot: str
    log: str

    def alive(self) -> bool:
        """Whether the leader itself still runs."""
        return is_running(self.pid) and self._is(_start_ticks(self.pid))

    def _is(self, started: int | None) -> bool:
        return (started, _boot()) == (self.started, self.boot)

    def owns_session(self) -> bool:
        """Whether a session of this id is still the session of this leader.

        The kernel gives no new process an id that a session still has.
        """
        ticks = _start_ticks(self.pid)
        return self._is(self.started if ticks is None else ticks)

    def last_lines(self, count: int = 20) -> str:
        """The end of its output."""
        return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-count:])


def spawn(
    name: str, command: list[str], environment: Mapping[str, str], folder: Path, output: Path
) -> Component:
    """Start a command as the leader of a new session.

    Parameters
    ----------
    folder
        Its working directory.
    output
        The file to which its output is appended.
    """
    with output.open("ab") as file:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    log.info("started %s (process %d)", name, process.pid)
    started = _start_ticks(process.pid)
    assert started is not None  # it is our child: its entry stays until we ask how it ended
    return Component(name, process.pid, started, _boot(), str(output))


def _start_ticks(pid: int) -> int | None:
    """When a process was started, in ticks since boot, which no change of the clock moves."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(")")[2].split()[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def members(components: Iterable[Component]) -> list[psutil.Process]:
    """Every process of the components' sessions, even where the leader itself is gone."""
    return in_sessions({component.pid for component in components if component.owns_session()})


def stop(components: list[Component]) -> None:
    """End the components and everything in their sessions; returns when nothing of it is left."""
    end(lambda: members(components), STOP_SECONDS)
