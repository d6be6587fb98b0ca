"""Where the work of a stage is done; that of real stages is in their own tests."""

import pytest

from lake import layout
from lake.names import StageName
from lake.settings import Settings
from nightjar.stages import runner


@pytest.fixture
def done(monkeypatch):
    """What was done, in order: jobs by name and result, and the work of this process."""
    found = []
    monkeypatch.setattr(
        runner, "submit", lambda name, attempt, *_: found.append((name, _[2](attempt) if len(_) > 2 else ""))
    )
    monkeypatch.setattr(runner.attempts, "work", lambda *_: found.append("here"))
    return found


@pytest.mark.parametrize(
    ("stage", "master", "expected"),
    [
        (StageName.FEATURES, "local[2]", [("feature_tables", "")]),
        (StageName.FEATURES, "spark://a:7077", [("feature_tables", "")]),
        (StageName.TRAIN, "spark://a:7077", ["here"]),
        (StageName.PRECOMPUTE, "local[2]", ["here"]),
        (StageName.PRECOMPUTE, "yarn", [("score", layout.scored("a1")), "here"]),
    ],
)
def test_lists_are_made_here_or_on_the_cluster(tmp_path, done, stage, master, expected):
    settings = Settings(home=tmp_path, spark_master=master)
    runner.run(None, runner.open_stage(stage, settings), "a1", settings)
    assert done == expected
