"""Several processes that commit attempts of one stage at the same time.

Usage: together_stage.py FOLDER HOME STAGE OF [LAKE]

`FOLDER` is what `stages.py` filled; the home is made as it was before that commit. Each process has
an attempt of its own with the same work done. Prints as JSON what became of each (its error, and how
often another was faster), how things are then, and how they are after one commit alone. Needs
OMP_NUM_THREADS=1, as `cuts.py` does.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cuts
import stages

from lake.ledger import Ledger
from lake.settings import Settings
from lake.storage import LocalStorage, open_storage

collisions = 0


def _count_collisions() -> None:
    append = Ledger.append

    def counted(self: Ledger, sequence: int, entry: Any) -> bool:
        global collisions
        won = append(self, sequence, entry)
        collisions += not won
        return won

    Ledger.append = counted  # type: ignore[assignment]


def _upload(settings: Settings) -> None:
    """Put the home's lake where the settings say that it is."""
    local, target = LocalStorage(settings.home / "lake"), open_storage(settings.lake)
    for path in local.list(""):
        content = local.read(path)
        if path.endswith("/plan.json"):
            content = content.replace(local.root.encode(), target.root.encode())
        assert target.put_new(path, content)


def _one_of(stage: str, number: int, of: int, settings: Settings, barrier: Path) -> dict[str, Any]:
    """Begin an attempt, wait for the others, commit it."""
    _count_collisions()
    attempt, error = stages.begin_anew(stage, settings), ""
    (barrier / str(number)).touch()
    while len(list(barrier.iterdir())) < of:
        time.sleep(0.001)
    try:
        stages.finish(stage, attempt, settings)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    return {"error": error, "collisions": collisions}


def main() -> None:
    folder, home, stage, of = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    cuts.warm_up(folder, home.with_name("warm"), [(stage, "commit")])
    cutter = cuts.Cutter(folder, home)
    _, after = cutter.seen_before(stage, "commit")
    stages.copy_home(folder / "before" / f"{stage}-commit", home)
    settings = stages.settings_of(home, folder / "slice.toml", *sys.argv[5:])
    if sys.argv[5:]:
        cuts.asked(lambda: _upload(settings), cutter.told)
    barrier = home.with_name("barrier")
    barrier.mkdir()
    told = [home.with_name(f"told-{number}.json") for number in range(of)]
    began = [
        cuts.start(lambda number=number: _one_of(stage, number, of, settings, barrier), path)
        for number, path in enumerate(told)
    ]
    assert [cuts.ended(pid) for pid in began] == [0] * of
    now = cuts.asked(lambda: stages.look(settings), cutter.told)
    each = [json.loads(path.read_text()) for path in told]
    sys.stdout.write(json.dumps({"each": each, "now": now, "expected": asdict(after)}))


if __name__ == "__main__":
    main()
