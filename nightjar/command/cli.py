"""The command `nightjar`: the night and its parts without Airflow, and what readers see of releases."""

import atexit
import gc
import os
import re
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial, wraps
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

from lake import cores as machine_cores
from lake import memory as machine_memory
from lake import partitions, settings
from lake.dataset import read_dataset
from lake.errors import NightjarError
from lake.lake import Lake
from lake.names import StageName
from nightjar import retention
from nightjar.console import console, print_settings, show_progress_log, step
from nightjar.servers.programs import LOOPBACK, Server, is_healthy, program
from nightjar_reader.errors import ReaderError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

NEGATIVE = re.compile(r"-[0-9]+")
Partition = Annotated[str, typer.Option("--partition", help="The day, as YYYY-MM-DD.")]


class What(StrEnum):
    """What `nightjar run` can run."""

    night = "night"
    ingest = StageName.INGEST.value
    features = StageName.FEATURES.value
    train = StageName.TRAIN.value
    precompute = StageName.PRECOMPUTE.value


class Prepared(StrEnum):
    """What `nightjar prepare` can make."""

    buckets = "buckets"
    classes = "classes"
    database = "database"
    kernels = "kernels"
    pools = "pools"


class IdCommand(TyperCommand):
    """A command whose argument is an id, which may begin with a dash as a negative number does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take negative numbers as arguments; say how other ids that begin with a dash are given."""
        ours = {name: param for param in self.get_params(ctx) for name in param.opts}
        valued = {name for name, param in ours.items() if not getattr(param, "is_flag", False)}
        at = args.index("--") if "--" in args else len(args)
        ids: list[str] = []
        rest: list[str] = []
        for before, arg in zip(["", *args], args[:at], strict=False):
            free = arg[:1] == "-" and before not in valued
            if free and not NEGATIVE.fullmatch(arg) and ours.keys().isdisjoint({arg[:2], arg.split("=")[0]}):
                how = f"an id that begins with a dash is given after --, as in `{ctx.info_name} -- {arg}`"
                raise typer.BadParameter(f"no such option: {arg}; {how}")
            (ids if free and NEGATIVE.fullmatch(arg) else rest).append(arg)
        return super().parse_args(ctx, [*rest, "--", *ids, *args[at + 1 :]])


def _command(
    function: Callable[..., None] | None = None, *, cls: type[TyperCommand] = TyperCommand
) -> Callable[..., Any]:
    """Register a command whose expected errors are shown as one message, with exit code 1."""
    if function is None:
        return partial(_command, cls=cls)

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (NightjarError, ReaderError) as error:
            console.print(f"[red]error:[/red] {escape(str(error))}")
            raise typer.Exit(1) from error

    return app.command(cls=cls)(guarded)


@_command
def run(
    what: What,
    partition: Partition,
    force: Annotated[
        bool, typer.Option("--force", help="With precompute: publish although a newer day is live.")
    ] = False,
) -> None:
    """Run a night, or one stage of it, without Airflow."""
    from nightjar.stages import night

    show_progress_log()
    config = settings.load()
    data = read_dataset(config.dataset)
    today = partitions.day_of(partitions.utc_now(), data.zone)
    day = data.require_day(partitions.parse(partition), today=today)
    if force and what is not What.precompute:
        raise typer.BadParameter("--force goes with precompute only")
    if what is What.night:
        night.run(day, config)
    else:
        night.run_stage(StageName(what), day, config, force)


@_command
def bootstrap(
    first: Annotated[str, typer.Option("--from", help="The first day, as YYYY-MM-DD.")],
    last: Annotated[str, typer.Option("--to", help="The last day, as YYYY-MM-DD.")],
) -> None:
    """Load a range of raw days in one Spark pass, with the records that their nights would have made."""
    from nightjar.stages import night

    show_progress_log()
    night.run_bootstrap(partitions.parse(first), partitions.parse(last), settings.load())


@_command
def land(
    first: Annotated[str, typer.Option("--from", help="The first day; by default the data set's.")] = "",
    last: Annotated[str, typer.Option("--to", help="The last day; by default the data set's.")] = "",
    households: Annotated[int, typer.Option(help="Land a sample of so many households; 0 for all.")] = 0,
) -> None:
    """Write the demo data (Complete Journey) as raw day files, and its catalogue on the first day."""
    from nightjar.command.land import land as land_days

    show_progress_log()
    with step("land the raw days"):
        land_days(
            settings.load(),
            first=partitions.parse(first) if first else None,
            last=partitions.parse(last) if last else None,
            households=households or None,
        )


@_command
def cut(
    files: Annotated[list[Path], typer.Argument(help="The files, all with the same columns.")],
    calendar: Annotated[
        Path | None, typer.Option(help="Write the days without rows there, for raw.closed_calendar.")
    ] = None,
) -> None:
    """Cut files that span many days into the file of each day that raw.files names."""
    from nightjar.command import cut as cutting

    show_progress_log()
    config = settings.load()
    with step(f"cut {', '.join(file.name for file in files)}"):
        done = cutting.cut(files, config)
    cutting.show(done, read_dataset(config.dataset), calendar)


@_command(cls=IdCommand)
def show(
    user: Annotated[str, typer.Argument(help="A user's id.")],
    length: Annotated[int, typer.Option("--length", "-n", help="How many items to show.", min=1)] = 10,
) -> None:
    """Show a user's list as readers see it, with what the products are."""
    from nightjar.command import show as page

    page.print_list(settings.load(), user, length)


@_command
def quarantine(
    day: Annotated[str, typer.Argument(help="The day, as YYYY-MM-DD.")],
    attempt: Annotated[
        str, typer.Option("--attempt", help="A refused attempt; by default the current record's rows.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", help="Examples of each reason.", min=0)] = 3,
) -> None:
    """Show the rows of a day that were set aside, by reason, also of one that was refused."""
    from nightjar.command import quarantine as page

    page.show(partitions.parse(day), attempt, limit, Lake.open(settings.load()))


@_command
def days(
    first: Annotated[str, typer.Option("--from", help="The first day, as YYYY-MM-DD.")],
    last: Annotated[str, typer.Option("--to", help="The last day, as YYYY-MM-DD.")],
) -> None:
    """Show which days were taken in, the hours they lacked, and which raw files are others since."""
    from nightjar.command import days as page

    config = settings.load()
    threads = config.threads or machine_cores.count()
    page.show(partitions.parse(first), partitions.parse(last), Lake.open(config), threads)


@_command
def plan(
    users: Annotated[int, typer.Option(help="Users with an event.")],
    items: Annotated[int, typer.Option(help="Items with an event.")],
    events_per_day: Annotated[int, typer.Option(help="Events of a day.")],
    cores: Annotated[int | None, typer.Option(help="Cores; by default this machine's.")] = None,
    memory: Annotated[float | None, typer.Option(help="GiB of memory; by default this machine's.")] = None,
    history_days: Annotated[int, typer.Option(help="Days of history.")] = 60,
    pairs: Annotated[
        int | None, typer.Option(help="Different pairs of user and item; by default seven for ten events.")
    ] = None,
) -> None:
    """Say what nights of a shop take: time, memory and the settings to use, by measured nights."""
    from nightjar.command import plan as page
    from nightjar.command.costs import GIB, shipped
    from nightjar.command.forecast import Forecast

    shop = page.shop_of(users, items, events_per_day, history_days, pairs)
    machine = page.machine_of(
        machine_cores.count() if cores is None else cores,
        machine_memory.limit() / GIB if memory is None else memory,
    )
    page.show(Forecast(shipped(), shop, machine))


@_command
def check_config(
    dataset: Annotated[str, typer.Argument(help="A data set's TOML, or its name in config/.")],
    sample: Annotated[
        str, typer.Option("--sample", help="A file or folder, anywhere; by default a day below NIGHTJAR_RAW.")
    ] = "",
    partition: Annotated[
        str, typer.Option("--partition", help="The day, as YYYY-MM-DD; by default the newest that is there.")
    ] = "",
    rows: Annotated[
        int, typer.Option("--rows", help="How many rows are judged; all files are checked.", min=1)
    ] = 100_000,
    shown: Annotated[int, typer.Option("--limit", "-n", help="Examples of rows and reasons.", min=0)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Show what a data set makes of a sample, and take nothing in; exit code 1 where a night would refuse."""
    from nightjar.command import check_config as page

    config = settings.load().model_copy(update={"dataset": dataset})
    day = partitions.parse(partition) if partition else None
    try:
        report = page.report(config, sample, day, rows, shown)
    except NightjarError as error:
        if not as_json:
            raise
        report = page.Report(passed=False, fault=str(error))
    typer.echo(report.json()) if as_json else page.show(report)
    if not report.passed:
        raise typer.Exit(1)


@_command
def new_dataset(
    samples: Annotated[list[str], typer.Argument(help="Files or folders of events, by path or on S3.")],
    name: Annotated[
        str, typer.Option("--name", help="The data set's; by default that of their folder.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="The new TOML; by default it is printed.", dir_okay=False)
    ] = None,
) -> None:
    """Write the TOML of a data set from samples of its files; each guess says what it rests on."""
    from nightjar.command import new_dataset as page

    if out is None:
        typer.echo(page.text(samples, name), nl=False)
        return
    page.write(samples, name, out)
    console.print(escape(f"look at what is UNSURE in {out}, then at what it makes of a sample:"))
    console.print(escape(f"nightjar check-config {out} --sample {samples[0]}"))


@_command
def schema() -> None:
    """Print the JSON schema of a data set's TOML, by which editors complete and check its keys."""
    from nightjar.command.schema import text

    typer.echo(text(), nl=False)


@_command
def releases() -> None:
    """Show the release ledger, and the gate results and metrics of the current release."""
    from nightjar.command import show as page

    page.print_releases(settings.load())


@_command
def rollback(
    release: Annotated[str, typer.Argument(help="The release that readers shall follow.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")],
) -> None:
    """Make readers follow an earlier release; the one left is not published again by itself."""
    from precompute import publish

    lake, actor = Lake.open(settings.load()), os.environ.get("USER") or "nightjar"
    done = publish.rollback(lake.releases, release, reason, actor)
    console.print(f"readers now follow {release} (ledger entry {done.sequence})")


@_command
def clean(
    nights: Annotated[
        int, typer.Option(help="How many nights before the newest keep their caches.", min=0)
    ] = retention.NIGHTS,
    days: Annotated[
        int, typer.Option(help="After how many days an attempt without a record goes.", min=1)
    ] = retention.DAYS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
) -> None:
    """Remove what no night needs any more: caches of old days, and what attempts left."""
    show_progress_log()
    totals = retention.clean(Lake.open(settings.load()), nights, days, dry_run)
    for what, (folders, files, size) in totals.items():
        console.print(f"{what}: {folders} folders, {files} files, {size / 10**6:,.1f} MB")
    console.print("nothing was removed" if dry_run or not totals else "removed")


@_command
def demo(
    partition: Annotated[str, typer.Option("--partition", help="The night to run.")] = "2017-09-30",
) -> None:
    """Land the demo data, load its history, run one night through a real Airflow, and show the release."""
    from nightjar.command.demo import run as run_demo

    os.environ.setdefault("NIGHTJAR_POKE_INTERVAL", "5")
    show_progress_log()
    config = settings.load()
    print_settings(config)
    run_demo(partitions.parse(partition), config)


@_command
def up() -> None:
    """Start Airflow, with its UI on 127.0.0.1 behind a generated password."""
    from nightjar.servers import local_airflow

    show_progress_log()
    config = settings.load()
    print_settings(config)
    started = local_airflow.start(config, config.port)
    console.print(f"Airflow is at {started.url}: user {started.user}, password {started.password}")
    console.print("`make down` stops it.")


@_command
def down() -> None:
    """Stop the Airflow that `nightjar up` started."""
    from nightjar.servers import local_airflow

    show_progress_log()
    stopped = local_airflow.stop(settings.load())
    console.print("Airflow is stopped" if stopped else "Airflow was not running")


@_command
def serve(
    server: Server,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = LOOPBACK,
    port: Annotated[int | None, typer.Option(help="The port; by default the server's usual one.")] = None,
) -> None:
    """Become a server; places and secrets come from the environment."""
    program(server, settings.load(), host, port).execute()


@_command
def check(
    server: Server,
    port: Annotated[int | None, typer.Option(help="The port; Airflow has its own.")] = None,
) -> None:
    """Ask a server whether it is healthy; exit code 1 when it is not."""
    healthy = is_healthy(server, settings.load(), port)
    console.print(f"{server} is {'healthy' if healthy else 'not healthy'}")
    if not healthy:
        raise typer.Exit(1)


@_command
def prepare(what: Prepared) -> None:
    """Make what servers need before they start, where it is missing; a second time changes nothing."""
    from nightjar.command.prepared import PREPARE

    show_progress_log()
    PREPARE[what](settings.load())


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin slow down what runs beside them
    gc.set_threshold(50_000)  # importing the libraries makes a million objects, and none of them is garbage
    atexit.register(gc.freeze)  # looking through them once more at the end takes a second or two
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)
    app()


def _exit(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that what was started is stopped."""
    sys.exit(128 + number)
