"""One Spark for the jobs of a night on one machine, started while the night still plans.

A job by itself waits for Java and Spark to start, and Java reads, checks and compiles for each anew what it
did for the one before.
"""

import logging
import os
import socket
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from lake import layout
from lake.errors import NightjarError
from lake.processes import end, in_sessions
from lake.settings import Settings
from spark_jobs.job import SUBMITTER
from spark_jobs.submit import STOP_SECONDS, Job, command, job_of

log = logging.getLogger(__name__)

DONE = b"done\n"
"""What the program answers to a job that has ended, well or not: its result or error lies beside the plan."""
POLL_SECONDS = 0.2
"""How soon it is seen that the program ended before it said a word."""


class Host:
    """The program `spark_jobs/host.py`, and the connection with it; a context, started as it is entered.

    Parameters
    ----------
    settings
        Of a night on this machine.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with suppress(NightjarError):  # the first job says what is missing here
            self._launch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def start(self, job: Job) -> str:
        """Run a job in this Spark and wait for it; return how the program fared, in words.

        Where the program has ended, such as after a job that failed, another is started.
        """
        if self._process is None or self._process.poll() is not None:
            self._running.close()
            self._launch()
        assert self._process
        log.info("%s: in the Spark of this night, log in %s", job.name, self._logfile)
        if self._answered(f"{job.name} {job.plan_uri}\n"):
            return f"the job has ended; see {self._logfile}"
        return f"spark-submit ended with {self._process.wait()}; see {self._logfile}"

    def _launch(self) -> None:
        """Listen, and start the program, which connects once its Spark has started."""
        with ExitStack() as running:
            # In no folder of the settings: the path of a socket has 107 bytes at most.
            folder = running.enter_context(tempfile.TemporaryDirectory(prefix="nightjar-"))
            job = job_of("host", layout.new_attempt(), self._settings)
            self._listener = running.enter_context(socket.socket(socket.AF_UNIX))
            self._listener.bind(f"{folder}/jobs")
            self._listener.listen(1)
            self._listener.settimeout(POLL_SECONDS)
            self._connection: socket.socket | None = None
            self._logfile = job.logfile
            self._process = _started(replace(job, plan_uri=f"{folder}/jobs"))
            running.callback(_end, self._process)
            self._running = running.pop_all()

    def _answered(self, line: str) -> bool:
        """Whether the program answered a line; without an answer it has ended."""
        connection = self._connected()
        if connection is None:
            return False
        with suppress(ConnectionError):
            connection.sendall(line.encode())
            return bool(connection.recv(len(DONE)))
        return False

    def _connected(self) -> socket.socket | None:
        """The connection with the program; None when it ended before it made one."""
        while self._connection is None and self._process and self._process.poll() is None:
            with suppress(TimeoutError):
                self._connection, _ = self._listener.accept()
                self._running.callback(self._connection.close)
        return self._connection


def _started(job: Job) -> "subprocess.Popen[bytes]":
    job.logfile.parent.mkdir(parents=True, exist_ok=True)
    variables = os.environ | job.environment | {SUBMITTER: str(os.getpid())}
    with job.logfile.open("ab") as out:
        return subprocess.Popen(
            command(job), env=variables, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    end(lambda: in_sessions({process.pid}), STOP_SECONDS)
    process.wait()
