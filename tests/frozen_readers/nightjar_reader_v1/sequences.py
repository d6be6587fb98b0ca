"""Numbered files: exactly ``<12 digits>.json`` directly in a folder counts, and nothing else.

Reader, publisher, records and night marks share this rule, so that all of them ignore a file that
somebody left beside theirs.
"""

import logging
import re
from collections.abc import Iterable
from functools import cache

log = logging.getLogger(__name__)

DIGITS = 12  # always as many, so that names sort as their numbers do
JSON = ".json"

_NUMBER = re.compile(rf"[0-9]{{{DIGITS}}}")  # not \d, which takes the digits of every script


def file_name(sequence: int, ending: str = JSON) -> str:
    """The name of a numbered file."""
    return f"{sequence:0{DIGITS}d}{ending}"


def sequences(names: Iterable[str], folder: str, ending: str = JSON, beside: str | None = None) -> list[int]:
    """The numbers of the files in a folder, ascending; what else lies there is named once in a warning.

    Parameters
    ----------
    names
        Paths of files relative to the folder.
    folder
        Its whole address, for the warning.
    ending
        What follows the 12 digits.
    beside
        The ending of numbered files of another kind, which belong there and cause no warning.
    """
    numbers = []
    for name in names:
        if (number := _sequence(name, ending)) is not None:
            numbers.append(number)
        elif not (name.startswith(".") or (beside and _sequence(name, beside))):  # .NAME is half written
            pass_over(f"{folder}/{name}", f"{folder}/<{DIGITS} digits>{ending}")
    return sorted(numbers)


def _sequence(name: str, ending: str) -> int | None:
    digits = name.removesuffix(ending)
    if f"{digits}{ending}" != name or not _NUMBER.fullmatch(digits):
        return None
    return int(digits) or None  # numbers begin at 1


@cache
def pass_over(path: str, expected: str) -> None:
    """Warn, once in a process, that a file does not count."""
    log.warning("%s is passed over: expected %s; move it elsewhere", path, expected)
