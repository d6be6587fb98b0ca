"""The coefficients of `nightjar plan`: how they are fitted, and whether they say what was measured."""

import importlib
import json
from pathlib import Path

import pytest

from nightjar.command import costs
from nightjar.command.costs import Cost, Machine, Night, Shop

CHECKOUT = Path(__file__).resolve().parents[2]
COSTS = {
    "bootstrap": Cost({"fixed": 30, "days": 0.5, "rows": 2e-5}, {"fixed": 1, "rows": 4e-7}, 0.5),
    "ingest": Cost({"fixed": 20, "events_per_day": 1e-4}, {"fixed": 1, "events_per_day": 1e-6}, 0.25),
    "features": Cost(
        {"fixed": 10, "pairs": 5e-6, "as_of_days x pairs": 3e-6},
        {"fixed": 1, "pairs": 1.8e-6},
        0.75,
    ),
    "train": Cost(
        {
            "fixed": 8,
            "labelled_users": 1e-4,
            "ranked_users": 2e-3,
            "fits x pairs": 1e-6,
            "sets x ranked_users": 1e-3,
        },
        {"fixed": 0.3, "pairs": 1e-7, "ranked_users": 1e-4},
        0.5,
    ),
    "precompute": Cost(
        {"fixed": 10, "users": 1e-4, "items": 1e-3}, {"fixed": 0.3, "users": 1e-6, "items": 1e-5}, 1.0
    ),
}
SIZES = [  # users, items, rows, days
    (1_000, 2_000, 100_000, 30),
    (50_000, 1_000, 500_000, 100),
    (10_000, 20_000, 4_000_000, 50),
    (200_000, 5_000, 3_000_000, 20),
]


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def night_fit(module):
    return module("night_fit")


@pytest.fixture
def shops(module, monkeypatch):
    monkeypatch.setattr("lake.memory.MOST_MIB", 8192)  # the made-up figures are of such a heap
    changed = module("night_data").SIZES["M"].changed
    return [changed(users=u, items=i, rows=r, days=d) for u, i, r, d in SIZES]


MACHINE = {"cpu": "x", "cores": 2, "memory_gib": 64, "flags": ["avx2"], "python": "3.11.7", "nice": 0}


def _run(made, **changed):
    """The figures that `COSTS` give for two nights of a shop, the second with its snapshots made."""
    commands = [("bootstrap", made.days - 7, Night(0, 0, 0))]
    for days, night in ((made.days - 6, Night(6, 6, 4)), (made.days, Night(1, 1, 1))):
        commands += [(name, days, night) for name in costs.STAGES[1:]]
    stages = [_measured(made, *command) for command in commands]
    run = {**vars(made), "machine": MACHINE, "commit": "c", "settings": {}, "stages": stages}
    return run | changed


def _measured(made, name, days, night):
    events = made.rows / made.days
    pairs = costs.estimated_pairs(made.users, made.items, days * events)
    need = COSTS[name].need(Shop(made.users, made.items, events, days, pairs), night, MACHINE["cores"])
    last = made.first + (days - 1) * (made.last - made.first) / (made.days - 1)
    return {
        "what": name,
        "day": f"{last}",
        "command": f"nightjar bootstrap --from {made.first} --to {last}",
        "load": 1.0,
        "cpu": need.cpu_seconds,
        "wall": need.seconds,
        "peak_gib": need.peak_gib,
        "steps": [{"log": line} for line in _log(name, night)],
    }


def _log(name, night):
    if name == "features":
        return [
            f"features as of {', '.join(['2024-12-01'] * night.as_of_days)}",
            "features as of x: left out",
        ]
    fits = [f"retrieval as of 2024-12-0{day}: fitted" for day in range(night.fits)]
    sets = [f"ranking set as of 2024-12-0{day}: made" for day in range(night.sets)]
    kept = [f"{what} as of 2024-12-09: an earlier night made it" for what in ("retrieval", "ranking set")]
    return [*fits, *sets, *kept] if name == "train" else []


def test_coefficients_are_found_again(night_fit, shops):
    found = night_fit.fit([_run(made) for made in shops])
    for name, cost in COSTS.items():
        fitted = found.stages[name]
        assert fitted.cpu_seconds == pytest.approx(cost.cpu_seconds, rel=0.02), name
        assert fitted.peak_gib == pytest.approx(cost.peak_gib, rel=0.02), name
        assert fitted.parallel == pytest.approx(cost.parallel, rel=0.02), name
    assert max(found.errors.values()) < 0.01
    assert found.ranges["users"] == [1_000, 200_000]
    assert found.ranges["cores"] == [2, 2]
    assert (found.machine["cpu"], found.commits, len(found.shops)) == ("x", ["c"], 4)


def test_only_the_newest_figures_of_the_last_machine_count(night_fit, shops):
    right = [_run(made) for made in shops]
    older, other = (_spoilt(_run(made)) for made in (shops[0], shops[0].changed(seed=1)))
    others = [
        older | {"commit": "older"},
        other | {"machine": MACHINE | {"cores": 8}},
        other | {"settings": {"NIGHTJAR_SPARK_MASTER": "spark://x:1"}},
        other | {"quick": True},
    ]
    assert night_fit.fit([*others, *right]) == night_fit.fit(right)
    assert night_fit.fit([*right, other]) != night_fit.fit(right)


def _spoilt(run):
    return run | {"stages": [one | {"cpu": 9.0, "peak_gib": 99.0} for one in run["stages"]]}


def test_commands_that_were_measured_again_alone_replace_their_own(night_fit, shops):
    right = [_run(made) for made in shops]
    again = _run(shops[0], commit="newer")
    again["stages"] = [one for one in again["stages"] if one["what"] == "features"][:1]
    for one in again["stages"]:
        one["peak_gib"] = 50.0
    found = {
        (one.stage, one.peak) for run in night_fit.chosen([*right, again]) for one in night_fit.figures(run)
    }
    before = {(one["what"], one["peak_gib"]) for run in right for one in run["stages"]}
    assert found - before == {("features", 50.0)}
    assert before - found == {("features", _run(shops[0])["stages"][2]["peak_gib"])}


@pytest.mark.parametrize(("nice", "load"), [(10, 1.0), (0, 9.0)])
def test_seconds_of_a_busy_machine_do_not_count(night_fit, shops, nice, load):
    right, busy = (
        [_run(made) for made in shops],
        _run(shops[0].changed(seed=1), machine=MACHINE | {"nice": nice}),
    )
    for one in busy["stages"]:
        one.update(wall=1000 * one["wall"], load=load)
    fitted = night_fit.fit([*right, busy]).stages
    assert {name: cost.parallel for name, cost in fitted.items()} == pytest.approx(
        {name: cost.parallel for name, cost in COSTS.items()}, rel=0.02
    )


def test_what_figures_cannot_tell_apart_is_shared(night_fit, shops):
    """With one night of one shop alone nothing is known of any driver; each takes a part."""
    run = _run(shops[0])
    run["stages"] = run["stages"][:5]
    fitted = night_fit.fit([run]).stages
    for one in night_fit.figures(run):
        cost = fitted[one.stage]
        assert cost.need(one.shop, one.night, 2).cpu_seconds == pytest.approx(one.cpu, rel=0.01)
        assert all(cost.cpu_seconds.values())
        assert all(cost.peak_gib.values())


def test_a_stage_without_figures_is_named(night_fit, shops):
    run = _run(shops[0])
    run["stages"] = [one for one in run["stages"] if one["what"] != "train"]
    with pytest.raises(SystemExit, match="no figures of train"):
        night_fit.fit([run])
    with pytest.raises(SystemExit, match="no figures yet"):
        night_fit.fit([run | {"quick": True}])


@pytest.fixture
def measured():
    return json.loads((CHECKOUT / "benchmarks" / "results" / "night.json").read_text())


def test_the_shipped_coefficients_follow_from_the_results(night_fit, measured):
    fitted, shipped = night_fit.fit(measured), costs.shipped()
    assert fitted.commits == shipped.commits, "`python benchmarks/night.py fit` writes them anew"
    for name, cost in fitted.stages.items():
        assert shipped.stages[name].cpu_seconds == pytest.approx(cost.cpu_seconds, rel=0.01)
        assert shipped.stages[name].peak_gib == pytest.approx(cost.peak_gib, rel=0.01)
        assert shipped.stages[name].parallel == pytest.approx(cost.parallel, rel=0.01)


def test_memory_that_was_bounded_tells_nothing_of_larger_shops(night_fit, shops):
    """Spark's JVM has 8 GiB: nights of the larger shops took no more than it and what is beside it."""
    runs = [_run(made) for made in shops]
    figures = [one for run in runs for one in run["stages"] if one["what"] == "features"]
    for one in figures:
        one["peak_gib"] = min(1 + 3.5 * (one["peak_gib"] - 1), 8.9)
    assert [one["peak_gib"] for one in figures].count(8.9) == 4
    peak = night_fit.fit(runs).stages["features"].peak_gib
    assert peak == pytest.approx({"fixed": 1, "pairs": 6.3e-6}, rel=0.01)


def test_memory_that_was_bounded_is_not_less_than_the_bound(night_fit, shops):
    """The free figures are of one small shop, and alike; the next larger one tells that it grows."""
    runs = [_run(shops[0]), _run(shops[2])]
    for run, peak in zip(runs, (2.0, 8.9), strict=True):
        run["stages"] = [one | {"peak_gib": peak} for one in run["stages"]]
    fitted = night_fit.fit(runs)
    first_nights = [one for run in runs for one in night_fit.figures(run) if one.night.as_of_days == 6]
    needs = [fitted.need(one.stage, one.shop, one.night, Machine(2, 64)) for one in first_nights]
    assert [need.peak_gib for need in needs] == pytest.approx([2.0, 8.9], rel=0.05)


def test_what_is_said_of_measured_shops_is_within_a_third(night_fit, measured):
    runs = night_fit.chosen(measured)
    assert "M" in {run["size"] for run in runs}
    for run in runs:
        machine = Machine(run["machine"]["cores"], run["machine"]["memory_gib"])
        figures = list(night_fit.figures(run))
        said = [costs.shipped().need(one.stage, one.shop, one.night, machine) for one in figures]
        third = {"rel": 1 / 3}
        cpu, peak = sum(one.cpu for one in figures), max(one.peak for one in figures)
        assert sum(need.cpu_seconds for need in said) == pytest.approx(cpu, **third)
        assert max(need.peak_gib for need in said) == pytest.approx(peak, **third)
        if all(one.quiet for one in figures):
            wall = sum(one.wall for one in figures)
            assert sum(need.seconds for need in said) == pytest.approx(wall, **third)
