"""Lists from a sample: its raw files landed, the history loaded, one night run; Spark in this process."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import pytest

from lake.dataset import CONFIG_DIR
from lake.lake import Lake
from lake.partitions import ONE_DAY
from lake.records import Record
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.command import cut
from nightjar.stages import night, runner
from nightjar_reader import Reader
from validation import expectations

QUICK = """
[training]
snapshots = 1
"""
"""A night of the defaults makes the features of four more days."""


@dataclass(frozen=True)
class Example:
    """An example of `config` on a sample, trained in less time.

    Attributes
    ----------
    settings
        Those of its home, with the example as the data set.
    """

    settings: Settings

    @property
    def raw(self) -> Path:
        """Where raw files land."""
        return Path(open_storage(self.settings.raw).local(""))  # type: ignore[attr-defined]

    @cached_property
    def lake(self) -> Lake:
        """Its lake."""
        return Lake.open(self.settings)

    def cut(self, *names: str) -> None:
        """Cut files below `raw` into those of each day."""
        cut.cut([self.raw / name for name in names], self.settings)

    def make_lists(self, day: dt.date) -> Reader:
        """Load the history before a day in one pass, and run the day's night."""
        night.run_bootstrap(self.lake.data.first_day, day - ONE_DAY, self.settings)
        night.run(day, self.settings)
        return Reader(self.settings.releases)

    def record(self, day: dt.date) -> Record:
        """What became of the rows of a day."""
        record = self.lake.records.current("ingest", day)
        assert record, day
        return record

    def require_counts(self, planted: Mapping[dt.date, Mapping[str, int]]) -> None:
        """Each day has the rows that the sample's maker planted, of each kind."""
        for day, kinds in planted.items():
            counts = self.record(day).counts
            found = {kind: counts[kind] for kind in kinds}
            assert (day, found) == (day, dict(kinds))
            assert (day, counts["read"]) == (day, sum(Counter(kinds).values()))


@pytest.fixture(scope="module")
def example(tmp_path_factory, submit_here):
    """A function: an example of `config`, with the days on which it is closed; no raw file is there yet."""

    def make(name: str, closed: Iterable[dt.date] = ()) -> Example:
        folder = tmp_path_factory.mktemp(name)
        toml = folder / f"{name}.toml"
        text = (CONFIG_DIR / toml.name).read_text(encoding="utf-8") + QUICK
        days = f"closed_days = [{', '.join(map(str, closed))}]"
        toml.write_text(text.replace("[raw]\n", f"[raw]\n{days}\n") if closed else text, encoding="utf-8")
        return Example(Settings(home=folder / "home", dataset=str(toml), spark_master="local[2]", threads=2))

    expectations.load()  # a night loads it in a thread, which here meets the imports of the jobs
    with pytest.MonkeyPatch.context() as patch:
        for module in (cut, runner):
            patch.setattr(module, "submit", submit_here)
        patch.setattr(night, "Host", lambda settings: nullcontext(SimpleNamespace(start=night.start_here)))
        yield make
