"""Faults of raw files that show only when Spark reads them."""

import datetime as dt
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from lake.errors import FileFault
from lake.storage import Storage, open_storage
from spark_jobs.job import unread
from spark_jobs.plans import ExtractPlan, RawFile
from spark_jobs.raw import file_at

_AT_ONCE: Final = 8  # asking for the version of a file waits for the storage, not for a core
_SHOWN: Final = 3  # names of files in a message


class DayFault(FileFault):
    """A fault of one day's raw files that only Spark finds."""

    def __init__(self, day: dt.date, message: str) -> None:
        super().__init__(message)
        self.day = day


def of_day(error: Exception, plan: ExtractPlan) -> DayFault | None:
    """The day whose file Spark could not read, if that is the error."""
    if isinstance(error, DayFault):
        return error
    cause = unread(error)
    file = file_at(cause.path, plan) if cause else None
    if cause is None or file is None:
        return None
    uri = open_storage(plan.raw_root).uri(file.name)
    problem = f"{uri}: expected a file that Spark can read, found {cause.why}"
    return DayFault(file.day, f"{problem}; deliver it again, then run {file.day} again")


def require_all_read(day: dt.date, rows: int, files: Iterable[RawFile]) -> None:
    """Refuse a day of which Spark read another number of rows than its files hold.

    Raises
    ------
    DayFault
        When the numbers differ.
    """
    stated = {file.name: file.rows for file in files}
    if rows != sum(stated.values()):
        raise DayFault(
            day,
            f"{day}: Spark read {rows} rows of {_few(list(stated))}, which hold "
            f"{sum(stated.values())}: a file changed meanwhile, or Spark skipped one; run the day again",
        )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def require_unchanged(plan: ExtractPlan) -> None:
    """Refuse a file that changed after its check: the record would hold the digest of other bytes.

    Raises
    ------
    DayFault
        When one did, or is gone.
    """
    storage = open_storage(plan.raw_root)
    files = [file for file in plan.all_files if not file.copy]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        unchanged = pool.map(partial(_is_as_checked, storage), files)
        changed = next((file for file, same in zip(files, unchanged, strict=True) if not same), None)
    if changed:
        raise DayFault(
            changed.day,
            f"{storage.uri(changed.name)}: expected the file that was checked, found one that changed while "
            f"it was read; run {changed.day} again",
        )


def _is_as_checked(storage: Storage, file: RawFile) -> bool:
    try:
        return storage.version(file.name) == file.version or storage.sha256(file.name) == file.sha256
    except FileNotFoundError:
        return False
