"""A look at a sample by the code of ingest itself, in a lake of its own that is removed afterwards."""

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from lake import cores
from lake.lake import Lake
from lake.settings import Settings
from nightjar.rawfiles.samples import ANY_ROWS, Sample
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest
from spark_jobs import cluster
from spark_jobs.plans import ExtractPlan, SamplePlan, SampleResult
from spark_jobs.submit import submit as submit_job
from validation import rules
from validation.gate import Check

Submit = Callable[[str, str, Settings], None]

_ANY_FILES: Final = "{partition}"


@dataclass(frozen=True, kw_only=True)
class Rehearsal(Ingest):
    """Ingest of a sample: all of its files are checked, some of their rows are judged.

    Attributes
    ----------
    sample
        The files.
    most, shown
        How many rows of each file are judged, and how many clean ones are shown.
    """

    PROGRAM: ClassVar = "sample"
    PLAN: ClassVar = SamplePlan
    MADE: ClassVar = SampleResult

    sample: Sample
    most: int
    shown: int

    def sections(self, lake: Lake) -> dict[str, Any]:
        """Those of ingest; of a piece with a template that can be read again, which nobody follows."""
        sections = super().sections(lake)
        if not self.sample.is_day:
            sections["raw"]["files"] = _ANY_FILES
        return sections

    def plan(self, lake: Lake, days: Sequence[dt.date]) -> SamplePlan:
        """See `Ingest.plan`."""
        plan = super().plan(lake, days)
        values = {field.name: getattr(plan, field.name) for field in fields(ExtractPlan)}
        if any(sum(file.rows for file in files) > self.most for files in (plan.files, plan.catalogues)):
            values["sections"]["rules"] |= ANY_ROWS
        bounds = {"most": self.most, "any_day": self.sample.any_day, "shown": self.shown}
        return SamplePlan(**values | bounds)


@dataclass(frozen=True)
class Rehearsed:
    """What became of a sample.

    Attributes
    ----------
    lake
        The lake of its own, while it is there.
    attempt
        The attempt whose tables lie there.
    checks
        Those of the night.
    """

    lake: Lake
    attempt: str
    plan: SamplePlan
    made: SampleResult
    checks: tuple[Check, ...]


@contextmanager
def rehearsed(
    sample: Sample, settings: Settings, most: int, shown: int, submit: Submit = submit_job
) -> Iterator[Rehearsed]:
    """Take a sample in, judge it as its night would, and commit nothing.

    Parameters
    ----------
    most
        How many rows of each kind are judged, those of the first files.
    shown
        How many clean rows of each kind the result has.

    Raises
    ------
    FileFault
        When a file cannot be taken in; the message names it.
    """
    with tempfile.TemporaryDirectory(prefix="nightjar-") as folder:
        apart = _apart(settings, sample, folder)
        lake = Lake(apart.lake, apart.raw, apart.releases, apart.mlflow_uri, sample.data)
        stage = Rehearsal(threads=apart.threads or cores.count(), sample=sample, most=most, shown=shown)
        attempt = attempts.begin(lake, stage, [sample.day])
        submit(stage.PROGRAM, attempt, apart)
        plan = cast(SamplePlan, attempts.read_plan(lake, stage, attempt))
        made = cast(SampleResult, attempts.read_made(lake, stage, attempt))
        checks = stage.check(lake, plan, made)[sample.day]
        if sample.any_day:
            checks = [check for check in checks if not check.name.endswith(f"{rules.LAG}_in_bounds")]
        yield Rehearsed(lake, attempt, plan, made, tuple(checks))


def _apart(settings: Settings, sample: Sample, folder: str) -> Settings:
    """The settings with the sample as raw files, and places of their own for all that is written."""
    lake = Path(folder).as_uri()
    places = {"lake": lake, "releases": f"{lake}/published", "raw": sample.root}
    here = {"spark_master": f"local[{cores.count()}]", "spark_properties": None}
    return settings.model_copy(update=places | (here if cluster.is_one(settings.spark_master) else {}))
