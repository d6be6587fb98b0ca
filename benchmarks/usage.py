"""What a command takes, with all processes that it starts: seconds, CPU-seconds, memory, bytes.

The command runs below a supervisor, a process of its own that adopts whatever loses its parent
(PR_SET_CHILD_SUBREAPER) and waits for it. So by the end every process of the tree has been waited for by
its parent or by the supervisor, and the kernel has added its CPU time and its bytes to those of the
supervisor, also those of processes too short to be sampled. The supervisor's own are not counted.

Memory is sampled: the sum of the proportional set sizes (PSS) of the tree. A page that n processes share
counts 1/n in each, so once in the sum; resident sizes would count it n times, and unique sizes never.
"""

import ctypes
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

GIB = 2**30
SAMPLE_SECONDS = 0.2  # between two samples, at least
REST = 20  # how many times as long as a sample took: the kernel walks all pages, 25 ms for each GiB
STRAY_SECONDS = 10  # given to what outlives the command, such as the server of a pool of processes
PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
STEP = re.compile(r"(?:\+ | {4})(\S.*)")  # how `nightjar` shows a finished step and a line of its log
LETTERS = 120  # of a line that is kept


@dataclass
class _Peaks:
    """The most memory of a tree, of all time and since the last step."""

    process: psutil.Process
    whole: int = 0
    step: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Sample until the end, by a twentieth of a core at most."""
        pause = SAMPLE_SECONDS
        while not self.ended.wait(pause):
            began = time.thread_time()
            now = _memory(self.process)
            self.whole, self.step = max(self.whole, now), max(self.step, now)
            pause = max(SAMPLE_SECONDS, REST * (time.thread_time() - began))


def measure(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a command and wait for all that it starts.

    Returns
    -------
    dict
        ``wall``, ``cpu``, ``user`` and ``system`` in seconds, and ``peak_gib``. ``read`` and ``written`` are
        the bytes that its calls of the kernel moved, from disk or not, ``disk_read`` and ``disk_written``
        those that the disk moved. ``steps`` has each line of progress with its seconds and peak, ``code``
        how it ended, ``output`` its last lines.
    """
    inner, outer = os.pipe()
    line = [sys.executable, __file__, str(outer), *command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "pass_fds": [outer]}
    with subprocess.Popen(line, env=dict(environment), text=True, errors="replace", **pipes) as process:
        os.close(outer)
        peaks = _Peaks(psutil.Process(process.pid))
        sampler = threading.Thread(target=peaks.watch)
        sampler.start()
        assert process.stdout is not None
        lines, steps = _follow(process.stdout, peaks)
        with os.fdopen(inner) as report:
            used = report.read()
        peaks.ended.set()
        sampler.join()
    if not used:
        raise SystemExit(f"{command}: some of its processes did not end; see above")
    return {"peak_gib": _gib(peaks.whole), **json.loads(used), "steps": steps, "output": lines[-20:]}


def _follow(output: IO[str], peaks: _Peaks) -> tuple[list[str], list[dict[str, Any]]]:
    """All lines until the end, and those that end a step."""
    lines, steps, last = [], [], time.monotonic()
    for line in map(str.rstrip, output):
        print(line, flush=True)
        lines.append(line)
        if shown := STEP.match(line):
            now, peak, peaks.step = time.monotonic(), peaks.step, 0
            steps.append({"log": shown[1][:LETTERS], "seconds": round(now - last, 1), "peak_gib": _gib(peak)})
            last = now
    return lines, steps


def _memory(supervisor: psutil.Process) -> int:
    """The sum of the PSS of all processes below the supervisor."""
    with suppress(psutil.NoSuchProcess):
        return sum(map(_pss, supervisor.children(recursive=True)))
    return 0


def _pss(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
        return int(process.memory_full_info().pss)
    return 0


def _gib(count: int) -> float:
    return round(count / GIB, 3)


def supervise(command: Sequence[str]) -> dict[str, Any]:
    """Run a command as the parent of all that loses its own, and wait for every process."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, began = _moved(), time.monotonic()
    code = subprocess.call(command)
    wall = time.monotonic() - began
    _reap(time.monotonic() + STRAY_SECONDS)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = used.ru_utime, used.ru_stime
    times = {"wall": wall, "cpu": user + system, "user": user, "system": system}
    moved = {name: count - before[name] for name, count in _moved().items()}
    return {"code": code, **{name: round(seconds, 2) for name, seconds in times.items()}, **moved}


def _reap(deadline: float) -> None:
    """Wait for what outlived its parent.

    Raises
    ------
    SystemExit
        When something goes on, whose figures would be missing.
    """
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(SAMPLE_SECONDS)
        raise SystemExit(f"still running: {list(_names())}")


def _names() -> Iterator[str]:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            yield " ".join(process.cmdline())[:LETTERS]


def _moved() -> dict[str, int]:
    """Bytes of this process and of those that it and its children have waited for."""
    lines = Path("/proc/self/io").read_text().splitlines()
    counts = {name: int(count) for name, _, count in (line.partition(":") for line in lines)}
    names = {"rchar": "read", "wchar": "written", "read_bytes": "disk_read", "write_bytes": "disk_written"}
    return {ours: counts[name] for name, ours in names.items()}


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1]), "w") as report:
        json.dump(supervise(sys.argv[2:]), report)
