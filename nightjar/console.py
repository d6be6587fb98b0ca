"""What a person sees in the terminal: steps with elapsed time, and the log lines of our own code."""

import io
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lake.settings import Settings

HEARTBEAT_SECONDS = 20  # soon enough to show that nothing hangs
PACKAGES = ("lake", "nightjar", "precompute", "recommender", "spark_jobs", "topn", "training", "validation")

for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):
        # A letter that the terminal lacks is shown as its code, instead of ending the command by an error.
        _stream.reconfigure(errors="backslashreplace")

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


class _ConsoleHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            console.print(f"    {self.format(record)}", style="dim", markup=False)
        except Exception:  # as in every handler: a line of the log ends no work
            self.handleError(record)


def show_progress_log() -> None:
    """Show the INFO lines of our packages between the steps."""
    handler = _ConsoleHandler()
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say that a step begins, that it goes on, and after how long it ended or failed."""
    began = time.monotonic()
    console.print(f"[bold]>[/bold] {title}")
    done = threading.Event()
    heartbeat = threading.Thread(target=_beat, args=(title, began, done), daemon=True)
    heartbeat.start()
    try:
        yield
    except BaseException:
        console.print(f"[red]x[/red] {title} failed after {time.monotonic() - began:.1f} s")
        raise
    finally:
        done.set()
        heartbeat.join()
    console.print(f"[green]+[/green] {title}: {time.monotonic() - began:.1f} s")


def _beat(title: str, began: float, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT_SECONDS):
        console.print(f"  ... {title}: {time.monotonic() - began:.0f} s so far", style="dim")


def add_row(table: Table, *cells: str | Text) -> None:
    """Add a row whose texts are shown as they are: rich would take words in brackets for markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def print_settings(settings: Settings) -> None:
    """Print every setting, without secrets."""
    values = ", ".join(f"{name}={value}" for name, value in settings.redacted().items())
    console.print(Text(f"settings: {values}"))
