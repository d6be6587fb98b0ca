"""One of several processes that do the same thing at the same time; prints what became of it as JSON.

Usage: together.py WORK ROOT NUMBER OF BARRIER
"""

import datetime as dt
import io
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from lake import layout, tables
from lake.errors import Conflict
from lake.ledger import Ledger
from lake.records import Draft, Input, Records, TableContent, TableFile
from lake.schemas import arrow_schema
from lake.storage import open_storage
from nightjar_reader import format as fmt
from precompute import publish as publishing
from precompute.publish import Candidate

DAY = dt.date(2017, 9, 1)
RELEASES = 50
DELIVERIES = 5

collisions = 0


def _count_collisions():
    """Count the puts and the Delta commits for which another process was faster."""
    append, follow = Ledger.append, tables._follow

    def counted(self, sequence, entry):
        global collisions
        won = append(self, sequence, entry)
        collisions += not won
        return won

    def following(*arguments):
        global collisions
        try:
            return follow(*arguments)
        except DeltaError:
            collisions += 1
            raise

    Ledger.append, tables._follow = counted, following


def _wait_for_all(barrier, number, of):
    (barrier / str(number)).touch()
    while len(list(barrier.iterdir())) < of:
        time.sleep(0.001)


def _draft(day, attempt, digest):
    tables = {"interactions": TableContent((), 1, digest)}
    read = (Input(f"transactions/{day}.parquet", "raw"),)
    return Draft("ingest", str(day), f"{attempt:016x}", "committed", 1, "c", read, tables)


def _commit(storage, day, number, digest):
    try:
        record = Records(storage).commit(_draft(day, number, digest), 0)
    except Conflict as conflict:
        return {"conflict": str(conflict)}
    return {"attempt": record.attempt, "sequence": record.sequence}


def same(storage, number, of):
    return _commit(storage, DAY, number, "1:1:1")


def other(storage, number, of):
    return _commit(storage, DAY, number, f"1:1:{number}")


def days(storage, number, of):
    return _commit(storage, DAY + dt.timedelta(days=number), number, "1:1:1")


def _deliver(storage, day, attempt):
    """Make a new file the state of a day."""
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{}], schema=arrow_schema("interactions", "int64")), content)
    path = f"{layout.partition('interactions', f'{attempt:016x}', day)}/part.parquet"
    assert storage.put_new(path, content.getvalue())
    delivered = TableContent((TableFile(path, len(content.getvalue()), 1),), 1, f"{attempt}")
    draft = replace(_draft(day, attempt, ""), tables={"interactions": delivered})
    records = Records(storage)
    records.commit(draft, records.latest("ingest", day))


def mirror(storage, number, of):
    """Deliver a day of one's own again and again, with a mirror after each."""
    for turn in range(DELIVERIES):
        _deliver(storage, DAY + dt.timedelta(days=number), turn * of + number)
        tables.mirror(storage, "int64")
    return {}


def _release(storage, day):
    empty = fmt.Manifest(str(day), "c", None, None, {}, (), {}, {}, (), None, (), {})
    manifest = fmt.canonical(empty)
    storage.put_new(fmt.manifest_path(fmt.release_id(manifest)), manifest)
    return Candidate(fmt.release_id(manifest), fmt.sha256(manifest), str(day))


def publish(storage, number, of):
    """Publish releases of days that lie between those of the other processes."""
    states = []
    for turn in range(RELEASES):
        release = _release(storage, DAY + dt.timedelta(days=turn * of + number))
        done = publishing.make_current(storage, lambda release=release: release, str(number), "together")
        states.append([done.state, done.sequence, release.as_of])
    return {"states": states}


def after_rollback(storage, number, of):
    """Half of them publish again what readers were rolled back from, the others the same new releases."""
    old, states = _release(storage, DAY + dt.timedelta(days=1)), []
    for turn in range(RELEASES):
        release = old if number % 2 else _release(storage, DAY + dt.timedelta(days=turn + 2))
        done = publishing.make_current(storage, lambda release=release: release, str(number), "together")
        states.append([done.state, done.sequence, release.as_of])
    return {"states": states}


def main():
    work, root, number, of, barrier = sys.argv[1:]
    storage = open_storage(root)
    storage.list("")
    _count_collisions()
    _wait_for_all(Path(barrier), int(number), int(of))
    done = globals()[work](storage, int(number), int(of))
    sys.stdout.write(json.dumps(done | {"collisions": collisions}))


if __name__ == "__main__":
    main()
