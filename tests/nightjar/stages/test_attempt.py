"""What is the same for all stages, on one that doubles numbers."""

import datetime as dt
import json
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from lake import layout
from lake.errors import Conflict, FileFault, GateFailed, PermanentError
from lake.names import StageName
from lake.plan import Plan
from nightjar.stages import attempt as attempts
from nightjar.stages.stage import Stage
from validation.gate import CRITICAL, Check

ONE, TWO, THREE = (dt.date(2024, 1, day) for day in (1, 2, 3))


@dataclass(frozen=True)
class Doubles:
    numbers: dict[dt.date, int]


@dataclass(frozen=True)
class Double(Stage[Plan, Doubles]):
    NAME: ClassVar = StageName.FEATURES
    VERSION: ClassVar = 1
    SECTIONS: ClassVar = ("id_type",)
    READS: ClassVar = ()
    PLAN: ClassVar = Plan
    MADE: ClassVar = Doubles
    runs: ClassVar[list[str]] = []

    refused: tuple[dt.date, ...] = ()
    factor: int = 2

    def plan(self, lake, days):
        return Plan(**self.pins(lake, days))

    def run(self, lake, plan):
        self.runs.append(plan.attempt)
        return Doubles({day: self.factor * day.day for day in plan.based_on})

    def check(self, lake, plan, made):
        return {
            day: [Check("doubled", CRITICAL, day not in self.refused, f"{number}", "more")]
            for day, number in made.numbers.items()
        }

    def draft(self, plan, made, day):
        return replace(plan.draft(day), counts={"number": made.numbers[day]})


class Whole(Double):
    WHOLE: ClassVar = True


def _attempt(lake, stage, days):
    attempt = attempts.begin(lake, stage, days)
    attempts.work(lake, stage, attempt)
    return attempt


def _numbers(lake):
    records = lake.records
    return {day: records.current("features", day).counts["number"] for day in records.partitions("features")}


def test_each_partition_is_committed_and_reported_together(tiny):
    records = attempts.commit(tiny.lake, Double(), _attempt(tiny.lake, Double(), [ONE, TWO]))
    assert [record.day for record in records] == [ONE, TWO]
    assert _numbers(tiny.lake) == {ONE: 2, TWO: 4}
    reports = tiny.lake.storage.list(layout.REPORTS)
    assert [path.rsplit("/", 1)[0] for path in reports] == ["reports/features/2024-01-01_2024-01-02"] * 2


def test_work_that_was_done_is_not_done_again(tiny):
    attempt = _attempt(tiny.lake, Double(), [ONE])
    attempts.work(tiny.lake, Double(), attempt)
    assert Double.runs.count(attempt) == 1


def test_a_refused_partition_is_named_and_the_others_are_committed(tiny):
    attempt = _attempt(tiny.lake, Double(), [ONE, TWO])
    with pytest.raises(GateFailed, match="features of 2024-01-01 was refused: doubled"):
        attempts.commit(tiny.lake, Double(refused=(ONE,)), attempt)
    assert _numbers(tiny.lake) == {TWO: 4}


def test_of_a_whole_stage_nothing_is_committed_where_one_is_refused(tiny):
    attempt = _attempt(tiny.lake, Whole(), [ONE, TWO])
    with pytest.raises(GateFailed, match="features of 2024-01-01 was refused"):
        attempts.commit(tiny.lake, Whole(refused=(ONE,)), attempt)
    assert _numbers(tiny.lake) == {}


@pytest.mark.parametrize(("kind", "lost"), [(Double, [ONE, TWO]), (Whole, [TWO])])
def test_another_run_s_record_is_a_conflict_but_of_an_earlier_partition_of_a_whole_stage(tiny, kind, lost):
    attempt = _attempt(tiny.lake, kind(), [ONE, TWO])
    faster = kind(factor=3)
    attempts.commit(tiny.lake, faster, _attempt(tiny.lake, faster, [ONE, TWO]))
    with pytest.raises(Conflict) as conflict:
        attempts.commit(tiny.lake, kind(), attempt)
    assert [str(day) for day in (ONE, TWO) if str(day) in str(conflict.value)] == [str(day) for day in lost]
    assert _numbers(tiny.lake) == {ONE: 3, TWO: 6}


def test_reasons_of_two_kinds_are_told_together(tiny):
    class Faulty(Double):
        def require(self, lake, plan, day, checks, report):
            if day == TWO:
                raise FileFault("no file")
            super().require(lake, plan, day, checks, report)

    attempt = _attempt(tiny.lake, Double(), [ONE, TWO, THREE])
    with pytest.raises(PermanentError, match=r"(?s)2024-01-01 was refused.*\nno file") as error:
        attempts.commit(tiny.lake, Faulty(refused=(ONE,)), attempt)
    assert error.type is PermanentError
    assert _numbers(tiny.lake) == {THREE: 6}


def test_a_check_of_the_whole_attempt_refuses_all_of_it_in_one_sentence_and_is_reported_once(tiny):
    class Suspect(Double):
        def check_all(self, lake, plan, made):
            return [Check("rows", CRITICAL, False, "one too many", "as many")]

    attempt = _attempt(tiny.lake, Suspect(), [ONE, TWO])
    with pytest.raises(
        GateFailed, match=r"^features of 2024-01-01 to 2024-01-02 was refused: rows: "
    ) as error:
        attempts.commit(tiny.lake, Suspect(), attempt)
    assert "\n" not in str(error.value)
    assert _numbers(tiny.lake) == {}
    (report,) = (p for p in tiny.lake.storage.list(layout.REPORTS) if p.endswith(".json"))
    names = [check["name"] for check in json.loads(tiny.lake.storage.read(report))["checks"]]
    assert names == ["rows", "doubled", "doubled"]


def test_what_follows_a_record_follows_the_one_that_was_there_before_too(tiny):
    followed = []

    class Followed(Double):
        def follow(self, lake, plan, record):
            followed.append((plan.attempt, record.attempt))

    first, second = (_attempt(tiny.lake, Followed(), [ONE]) for _ in range(2))
    for attempt in (first, second):
        attempts.commit(tiny.lake, Followed(), attempt)
    assert followed == [(first, first), (second, first)]


def test_a_plan_holds_the_sections_that_its_stage_reads_and_no_other(tiny):
    stage = Double()
    plan = attempts.read_plan(tiny.lake, stage, attempts.begin(tiny.lake, stage, [ONE]))
    assert (plan.config.id_type, plan.config_digest) == ("int64", stage.config_digest(tiny.lake))
    with pytest.raises(AttributeError, match="events"):
        _ = plan.config.events
