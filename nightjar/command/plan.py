"""The page of `nightjar plan`: what nights of a shop will take of a machine, and how to run them there."""

from collections.abc import Iterator
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from lake.errors import ConfigError
from lake.settings import PREFIX
from nightjar.command import costs
from nightjar.command.costs import BOOTSTRAP, FIRST, LATER, Machine, Need, Shop
from nightjar.command.forecast import Forecast, profile, together
from nightjar.console import add_row, console

MINUTE = 60
SLACK = 0.1  # a number is beyond what was measured by more than so much
MOST_EVENTS, MOST_DAYS, MOST_CORES, MOST_GIB = 10**12, 36_600, 1024, 1 << 20  # more is a slip of the pen
COLUMNS = ("minutes", "CPU-minutes", "peak GiB")
ERRORS = {"seconds": "seconds", "cpu_seconds": "CPU-seconds", "peak_gib": "memory"}
MEASURED = {
    "users": "users",
    "items": "items",
    "events_per_day": "events a day",
    "history_days": "days of history",
    "pairs": "pairs",
    "cores": "cores",
}


def shop_of(users: int, items: int, events_per_day: int, history_days: int, pairs: int | None) -> Shop:
    """A shop by what was given of it.

    Raises
    ------
    ConfigError
        When no shop has such numbers.
    """
    _require("--events-per-day", events_per_day, 1, MOST_EVENTS)
    _require("--history-days", history_days, 1, MOST_DAYS)
    rows = events_per_day * history_days
    _require("--users", users, 1, rows, "each has an event in the history")
    _require("--items", items, 1, rows, "each has an event in the history")
    if pairs is None:
        return Shop(users, items, events_per_day, history_days, costs.estimated_pairs(users, items, rows))
    most = min(rows, users * items)
    _require("--pairs", pairs, max(users, items), most, "each user has one, each item, and each an event")
    return Shop(users, items, events_per_day, history_days, pairs)


def machine_of(cores: int, memory_gib: float) -> Machine:
    """A machine by what was given of it.

    Raises
    ------
    ConfigError
        When no machine for nights has so much.
    """
    _require("--cores", cores, 1, MOST_CORES)
    _require("--memory", memory_gib, 1, MOST_GIB, "in GiB")
    return Machine(cores, memory_gib)


def _require(option: str, number: float, least: float, most: float, why: str = "") -> None:
    if not least <= number <= most:
        expected = f"expected {least:,} to {most:,}{f' ({why})' * bool(why)}"
        raise ConfigError(f"{option}: {expected}, found {number:,}")


def show(forecast: Forecast) -> None:
    """Print the table, the profile, and what all of it is known from."""
    console.print(_table(forecast))
    chosen = profile(forecast)
    console.print("\n[bold]how to run them[/bold]")
    for reason in chosen.reasons:
        console.print(Text(f"  {reason}"))
    for name, value in chosen.settings.items():
        console.print(Text(f"    export {PREFIX}{name}={value}"))
    console.print("\n[bold]how this is known[/bold]")
    for line in _sources(forecast):
        console.print(Text(f"  {line}"))


def _table(forecast: Forecast) -> Table:
    shop, machine = forecast.shop, forecast.machine
    title = (
        f"{shop.users:,} users, {shop.items:,} items, {shop.events_per_day:,} events a day, "
        f"{shop.history_days:,} days of history, {shop.pairs:,.0f} pairs; {machine}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for night in ("first night", "later night"):
        for name in COLUMNS:
            table.add_column(f"{night}:\n{name}", justify="right", no_wrap=True)
    first, later = forecast.needs(FIRST), forecast.needs(LATER)
    for name in costs.STAGES:
        add_row(table, name, *_cells(first[name]), *_cells(later.get(name)))
    table.add_section()
    add_row(
        table, "together", *(cell for needs in (first, later) for cell in _cells(together(needs.values())))
    )
    return table


def _cells(need: Need | None) -> list[str]:
    if need is None:
        return [""] * len(COLUMNS)
    return [f"{need.seconds / MINUTE:.1f}", f"{need.cpu_seconds / MINUTE:.1f}", f"{need.peak_gib:.1f}"]


def _sources(forecast: Forecast) -> Iterator[str]:
    known, machine = forecast.costs, forecast.costs.machine
    week = together([need for name, need in forecast.needs(FIRST).items() if name != BOOTSTRAP])
    yield f"Each of the six nights after the first makes its snapshots, too: {week.seconds / MINUTE:.1f} min."
    yield "Airflow adds some seconds to each task."
    yield (
        f"Fitted to measurements of one machine ({machine['cpu']} with {', '.join(machine['flags'])}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB) at {', '.join(known.commits)}:"
    )
    yield from (f"  {shop}" for shop in known.shops)
    far = ", ".join(f"{ERRORS[name]} {error:.0%}" for name, error in known.errors.items())
    yield f"What is said here of a command measured there is off by at most: {far}."
    if beyond := list(_beyond(forecast)):
        yield f"Beyond what was measured, so less sure: {'; '.join(beyond)}."


def _beyond(forecast: Forecast) -> Iterator[str]:
    """The numbers that lie outside of what was measured."""
    numbers = asdict(forecast.shop) | {"cores": forecast.machine.cores}
    for name, words in MEASURED.items():
        least, most = forecast.costs.ranges[name]
        if not (1 - SLACK) * least <= numbers[name] <= (1 + SLACK) * most:
            measured = f"{least:,.0f}" if least == most else f"{least:,.0f} to {most:,.0f}"
            yield f"{numbers[name]:,.0f} {words} (measured: {measured})"
