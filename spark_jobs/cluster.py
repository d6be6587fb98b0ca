"""A cluster that Spark runs on: whether its master answers, and what travels to its workers with a job.

A worker needs Java and Python with our requirements, but none of our code and no settings.
"""

import re
import socket
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import tenacity

from lake import processor
from lake.errors import ClusterUnavailable
from lake.settings import CHECKOUT, Settings

VARIABLES: Final = {**processor.VARIABLES, "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
"""What the environment of a job needs, wherever a part of it runs."""
PACKAGES: Final = ("lake", "nightjar_reader", "recommender", "spark_jobs", "topn", "validation")
"""What tasks import: this package and those below it."""
ENVIRONMENT: Final = "environment"
"""The folder into which each executor unpacks the archive of the environment."""
WAIT: Final = "spark.nightjar.wait"
"""The option that says how many seconds a job waits for an executor."""
MASTER_SECONDS: Final = 30
"""How long a master may be away, as while it is started again."""

_MASTER = re.compile("spark://(.+)")
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)  # a zip knows none before


def is_one(master: str) -> bool:
    """Whether a master is that of a cluster: with `local[...]`, all is done in the driver's process."""
    return not master.startswith("local")


def is_here(master: str) -> bool:
    """Whether all of Spark is on this machine, where nobody else need reach it."""
    return not is_one(master) or all(_is_loopback(host) for host, _ in _addresses(master) or [("", 0)])


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _addresses(master: str) -> list[tuple[str, int]]:
    """Hosts and ports of a standalone master and those that stand by; of other masters Spark knows them."""
    match = _MASTER.fullmatch(master)
    parts = (part.rpartition(":") for part in match[1].split(",")) if match else ()
    return [(host.strip("[]"), int(port)) for host, _, port in parts]


def require_master(master: str, seconds: float = MASTER_SECONDS) -> None:
    """Connect to a standalone master, as Spark takes a minute to say that there is none.

    Raises
    ------
    ClusterUnavailable
        When none of its addresses answers for some seconds.
    """
    addresses = _addresses(master)
    if not addresses:
        return
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds), wait=tenacity.wait_fixed(1), reraise=True
    )
    try:
        retrying(_connect, addresses)
    except OSError as error:
        raise ClusterUnavailable(
            f"{master}: expected Spark's master to answer, found {error}; start it, or correct "
            "NIGHTJAR_SPARK_MASTER, then run again"
        ) from error


def _connect(addresses: list[tuple[str, int]]) -> None:
    for number, address in enumerate(addresses, 1):
        try:
            socket.create_connection(address, timeout=5).close()
            return
        except OSError:
            if number == len(addresses):
                raise


def conf(settings: Settings) -> dict[str, str]:
    """The options of a job on a cluster; no key is among them, as they stand on a command line."""
    cores, archive = settings.spark_executor_cores, re.sub("^s3:", "s3a:", settings.spark_archive or "")
    return {
        "spark.submit.pyFiles": str(pack(settings.home / "spark")),
        "spark.executor.memory": settings.spark_executor_memory,
        WAIT: f"{settings.spark_wait.total_seconds():.0f}",
        **({"spark.executor.cores": str(cores)} if cores else {}),
        **({"spark.archives": f"{archive}#{ENVIRONMENT}"} if archive else {}),
        **{f"spark.executorEnv.{name}": value for name, value in VARIABLES.items()},
    }


def python(settings: Settings) -> str:
    """The path of Python on the workers."""
    packed = f"./{ENVIRONMENT}/bin/python" if settings.spark_archive else sys.executable
    return settings.spark_python or packed


def pack(folder: Path, root: Path = CHECKOUT) -> Path:
    """Put our packages into a zip, which is named by its content: the same code, the same file."""
    content = {path.relative_to(root).as_posix(): path.read_bytes() for path in _sources(root)}
    digest = sha256(b"".join(name.encode() + sha256(code).digest() for name, code in content.items()))
    target = folder / f"nightjar-{digest.hexdigest()[:12]}.zip"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            _write(Path(file.name), content)
        Path(file.name).replace(target)
    return target


def _sources(root: Path) -> list[Path]:
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def _write(path: Path, content: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, code in content.items():
            packed.writestr(zipfile.ZipInfo(name, _EARLIEST), code, zipfile.ZIP_DEFLATED)
