"""What the command line takes for what."""

import datetime as dt

import pytest
from typer.testing import CliRunner

from lake import layout
from lake.records import Draft
from nightjar.command.cli import app


@pytest.fixture
def shown(monkeypatch):
    """Run `nightjar show`; gives what would be shown, or the error."""

    def run(*args):
        found = []
        monkeypatch.setattr(
            "nightjar.command.show.print_list", lambda settings, user, length: found.append((user, length))
        )
        done = CliRunner().invoke(app, ["show", *args], env={"COLUMNS": "300", "NO_COLOR": "1"})
        return found[0] if done.exit_code == 0 else " ".join(done.output.replace("│", " ").split())

    return run


@pytest.mark.parametrize(
    ("args", "user", "length"),
    [
        (["7"], "7", 10),
        (["-7"], "-7", 10),
        (["-9223372036854775808"], "-9223372036854775808", 10),
        (["-7", "-n", "3"], "-7", 3),
        (["--length", "3", "-7"], "-7", 3),
        (["--", "-7"], "-7", 10),
        (["-n", "3", "--", "-abc"], "-abc", 3),
        (["--", "--length"], "--length", 10),
        (["--", "--"], "--", 10),
    ],
)
def test_an_id_may_begin_with_a_dash(shown, args, user, length):
    """`-7` was "No such option"."""
    assert shown(*args) == (user, length)


def test_of_other_dashes_the_error_says_how_they_are_given(shown):
    said = shown("-abc")
    assert "no such option: -abc; an id that begins with a dash is given after --" in said
    assert "`show -- -abc`" in said


@pytest.mark.parametrize("args", [["-n", "-3", "7"], ["-7", "-8"], ["-n"], ["--lenght", "3"], []])
def test_what_is_wrong_otherwise_stays_wrong(shown, args):
    assert isinstance(shown(*args), str)


def test_clean_shows_what_would_go_and_removes_it_only_without_dry_run(tiny, monkeypatch):
    storage, old = tiny.lake.storage, dt.date(2024, 1, 1)
    tiny.lake.records.commit(Draft("features", "2024-06-30", layout.new_attempt(), "committed", 1, "c"), 0)
    storage.put_new(f"{layout.cached('retrieval', old, 'x')}/a.npy", b"x" * 2_000_000)
    for name, value in tiny.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("nightjar.command.cli.show_progress_log", lambda: None)  # it lasts beyond the test

    def clean(*args):
        done = CliRunner().invoke(app, ["clean", *args])
        assert done.exit_code == 0, done.output
        return done.output.splitlines()

    told = ["caches of old days: 1 folders, 1 files, 2.0 MB"]
    assert clean("--dry-run") == [*told, "nothing was removed"]
    assert storage.list(layout.CACHES)
    assert clean("--nights", "200") == ["nothing was removed"]
    assert clean() == [*told, "removed"]
    assert storage.list(layout.CACHES) == []
    assert clean() == ["nothing was removed"]
