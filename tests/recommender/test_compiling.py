"""Kernels that are compiled at installation, in folders of their own."""

import os
import subprocess
import sys
from pathlib import Path

NIGHT = """
import sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from conftest import DAY, tables_of
from lake.dataset import read_dataset
from recommender import asof, retrieval
from recommender.candidates import candidates
from recommender.matrix import matrix

bought = {(user, (user + step) % 70): 3.0 - step for user in range(70) for step in range(3)}
tables, data = tables_of(bought), read_dataset("complete_journey")
day = asof.build(DAY, lambda name, columns: [tables[name].select(columns).to_batches()], None, data)
[view] = [block.view for block in day.blocks()]
fitted = retrieval.fit(view, view.weights, data.retrieval.model_copy(update={"factors": 1}), 1)
for repeats in (True, False):
    chosen = candidates(view, fitted, data.model_copy(update={"repeats": repeats}), None)
    matrix(view, fitted, np.arange(len(view.users), dtype=np.int32), chosen)
ours = [module for name, module in sys.modules.items() if name.split(".")[0] in ("topn", "recommender")]
kernels = {value for module in ours for value in vars(module).values() if isinstance(value, Dispatcher)}
print(sum(bool(kernel.stats.cache_hits) for kernel in kernels))
print(*(kernel.__name__ for kernel in kernels if kernel.stats.cache_misses))
"""


PREPARE = "from nightjar.command.cli import main; main()"


def _run(code, cache, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parent,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_night_compiles_nothing_after_the_installation(tmp_path):
    """The first night waited until all kernels were compiled."""
    _run(PREPARE, tmp_path, "prepare", "kernels")
    loaded, compiled = _run(NIGHT, tmp_path)
    assert (int(loaded) > 5, compiled) == (True, "")
