"""What a terminal that knows few letters is shown."""

import logging
import os
import subprocess
import sys

import pytest

from nightjar import console

SHOW = r"""
import logging, sys
from nightjar.console import add_row, console, show_progress_log, step
from rich.table import Table
show_progress_log()
logging.getLogger("lake.records").warning("records/Gr\u00f6\u00dfe is passed over")
table = Table(title="Kr\u00e4uter")
table.add_column("\u2615")
add_row(table, "\udcff")
console.print(table)
with step("\u2615"):
    print("\u00fc", file=sys.stderr)
print("went on")
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "ascii:strict"])
def test_a_letter_that_the_terminal_does_not_know_ends_nothing(encoding):
    """A UnicodeEncodeError ended commands in their middle, at a log line too."""
    told = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", SHOW], env=told, capture_output=True)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    shown = done.stdout.decode(encoding.partition(":")[0])
    assert "is passed over" in shown
    assert shown.rstrip().endswith("went on")
    assert ("Gr\\xf6\\xdfe" if encoding.startswith("ascii") else "Gr\u00f6\u00dfe") in shown


def test_a_log_line_that_cannot_be_printed_ends_nothing(monkeypatch):
    """`emit` raised what the terminal raised."""

    def fail(*args, **kwargs):
        raise OSError("the terminal is gone")

    unprinted = []
    handler = console._ConsoleHandler()
    monkeypatch.setattr(console.console, "print", fail)
    monkeypatch.setattr(handler, "handleError", unprinted.append)
    record = logging.LogRecord("lake", logging.INFO, "x.py", 1, "said", None, None)
    handler.handle(record)
    assert unprinted == [record]
