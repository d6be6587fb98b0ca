"""Runs a command on a Spark cluster of this machine: a master and workers of a core each, ended with it.

    python benchmarks/on_workers.py 2 nightjar run features --partition 2024-12-31

Whoever measures this measures the cluster too, from its start, of some seconds, to its end.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from lake import memory  # noqa: E402
from nightjar.servers import background  # noqa: E402
from nightjar.servers.waiting import wait_until  # noqa: E402
from spark_jobs.options import SECRET  # noqa: E402

PORT = 17_077  # the master's; its page and those of the workers are on the next
READY = {"spark-master": "New state: ALIVE", "spark-worker": "Successfully registered with master"}


def main() -> None:
    """Run the command of the arguments; ends as it does."""
    workers, command = int(sys.argv[1]), sys.argv[2:]
    parts: list[background.Component] = []
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the cluster ends too
    with tempfile.TemporaryDirectory() as folder:
        told = _environment(workers)
        try:
            parts.append(_start("spark-master", PORT, Path(folder), told))
            for number in range(workers):
                parts.append(_start("spark-worker", PORT + 2 + number, Path(folder), told))
            code = subprocess.run(command, env=told, check=False).returncode
        finally:
            background.stop(parts)
    raise SystemExit(code)


def _environment(workers: int) -> dict[str, str]:
    """What the cluster's parts and the command are told: each executor gets its share of the memory."""
    share = f"{memory.limit() // 2 // workers >> 20}m"
    return {
        **os.environ,
        SECRET: secrets.token_hex(16),
        "NIGHTJAR_SPARK_MASTER": f"spark://127.0.0.1:{PORT}",
        "NIGHTJAR_SPARK_EXECUTOR_MEMORY": share,
        "SPARK_WORKER_CORES": "1",
        "SPARK_WORKER_MEMORY": share,
    }


def _start(server: str, port: int, folder: Path, told: dict[str, str]) -> background.Component:
    """Start a part of the cluster, with a home of its own, and wait until it is ready."""
    home = folder / f"{server}-{port}"
    home.mkdir()
    program = str(Path(sys.executable).with_name("nightjar"))
    line: Sequence[str] = [program, "serve", server, "--host", "127.0.0.1", "--port", str(port)]
    log = home / "log"
    part = background.spawn(server, [*line], {**told, "NIGHTJAR_HOME": str(home)}, home, log)

    def is_ready() -> bool:
        said = log.read_text()
        if not part.alive():
            raise SystemExit(f"{server} has ended:\n{said}")
        return READY[server] in said

    wait_until(is_ready, part.last_lines, server, pause=0.2)
    return part


if __name__ == "__main__":
    main()
