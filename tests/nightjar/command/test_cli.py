"""What the command line takes for what."""

import pytest
from typer.testing import CliRunner

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
