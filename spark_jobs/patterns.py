"""The SQL that makes an ISO stamp of one that is written by a pattern (`lake.stamps`)."""

from collections.abc import Mapping
from typing import Final

from lake.stamps import MONTHS, Pattern

_BREAK: Final = "\x01"
"""Stands behind each group; a pattern has no letter that nobody sees."""
_MONTHS: Final = "".join(name[:3].lower() for name in MONTHS)
_FIRST_OF_1900S: Final = 69  # as POSIX and Python have it: 69 is 1969, 68 is 2068


def iso(text: str, pattern: Pattern) -> str:
    """The SQL of the ISO stamp of a text, null where it does not fit.

    A day or an hour that there is not comes back as it is: no stamp is read of it.

    Parameters
    ----------
    text
        SQL of the text, without blanks at its ends.
    """
    groups = "".join(f"${number}{_BREAK}" for number in range(1, len(pattern.letters) + 1))
    broken = f"regexp_replace({text}, {_literal(f'(?i)^{pattern.expression}$')}, {_literal(groups)})"
    found = f"nullif({broken}, {text})"  # what does not fit stays as it is
    parts = {
        letter: f"split_part({found}, {_literal(_BREAK)}, {number})"
        for number, letter in enumerate(pattern.letters, 1)
    }
    date = [_year(parts), "'-'", _month(parts), "'-'", _two_digits(parts["d"])]
    return f"concat({', '.join(date + _time(parts))})"


def _time(parts: Mapping[str, str]) -> list[str]:
    """What stands behind the date; nothing where the pattern has no hour."""
    if not {"H", "I"} & parts.keys():
        return []
    minute, second = (_two_digits(parts[letter]) if letter in parts else "'00'" for letter in "MS")
    fraction = ["'.'", parts["f"]] if "f" in parts else []
    return ["'T'", _hour(parts), "':'", minute, "':'", second, *fraction, parts.get("z", "''")]


def _year(parts: Mapping[str, str]) -> str:
    if "Y" in parts:
        return parts["Y"]
    return f"if({parts['y']} >= '{_FIRST_OF_1900S}', '19', '20'), {parts['y']}"


def _month(parts: Mapping[str, str]) -> str:
    name = parts.get("b") or parts.get("B")
    place = f"instr('{_MONTHS}', lower(left({name}, 3)))"
    return _two_digits(f"CAST(({place} + 2) DIV 3 AS STRING)" if name else parts["m"])


def _hour(parts: Mapping[str, str]) -> str:
    if "H" in parts:
        return _two_digits(parts["H"])
    afternoon = f"if(lower({parts['p']}) = 'pm', 12, 0)"
    return _two_digits(f"CAST(CAST({parts['I']} AS INT) % 12 + {afternoon} AS STRING)")


def _two_digits(number: str) -> str:
    return f"lpad({number}, 2, '0')"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
