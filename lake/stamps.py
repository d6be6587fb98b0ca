"""The forms in which raw stamps are written: ISO 8601, epoch numbers, and patterns.

A pattern is in the language of Python's `strptime`, with digits of ASCII and English names. It becomes a
regular expression that Python and Java read alike; `spark_jobs.casts` makes an ISO stamp of its groups.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, permutations
from typing import Final

from lake.toml import near

ISO: Final = "iso"
EPOCHS: Final = {"epoch_s": "1000000", "epoch_ms": "1000", "epoch_us": "1", "epoch_ns": "0.001"}
"""The units of numbers that count from 1970 on in UTC, each in microseconds."""
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
OFFSET: Final = "Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?"
_NUMBER: Final = re.compile("[0-9]+([.][0-9]+)?")
_ISO: Final = tuple(
    f"%Y-%m-%d{time}"
    for time in ("", *(f"{mark}%H:%M{rest}" for mark in " T" for rest in ("", ":%S", ":%S.%f")))
)
_SHOWN: Final = "%d.%m.%Y %H:%M"


@dataclass(frozen=True)
class _Directive:
    """What a letter behind `%` stands for.

    Attributes
    ----------
    part
        Of the stamp.
    expression
        What it matches.
    sample
        A text that it matches.
    whole
        What it matches where it touches another digit: all of its digits.
    """

    part: str
    expression: str
    sample: str
    whole: str = ""


def _any(names: Iterable[str]) -> str:
    return "|".join(names)


def _two_digits(part: str, sample: str) -> _Directive:
    return _Directive(part, "[0-9]{1,2}", sample, "[0-9]{2}")


_DIRECTIVES: Final = {
    "Y": _Directive("year", "[0-9]{4}", "2011", "[0-9]{4}"),
    "y": _Directive("year", "[0-9]{2}", "11", "[0-9]{2}"),
    "m": _two_digits("month", "10"),
    "b": _Directive("month", _any(name[:3] for name in MONTHS), "Oct"),
    "B": _Directive("month", _any(MONTHS), "October"),
    "d": _two_digits("day", "12"),
    "a": _Directive("weekday", _any(name[:3] for name in _WEEKDAYS), "Wed"),
    "A": _Directive("weekday", _any(_WEEKDAYS), "Wednesday"),
    "H": _two_digits("hour", "11"),
    "I": _Directive("hour", "0?[1-9]|1[0-2]", "11", "0[1-9]|1[0-2]"),
    "p": _Directive("half of the day", "AM|PM", "AM"),
    "M": _two_digits("minute", "12"),
    "S": _two_digits("second", "10"),
    "f": _Directive("fraction", "[0-9]{1,9}", "101112", "[0-9]{1,9}"),
    "z": _Directive("offset", OFFSET, "+0200"),
}
_NEEDED: Final = ("year", "month", "day")
_NEEDS: Final = {
    "minute": "hour",
    "second": "minute",
    "fraction": "second",
    "offset": "hour",
    "half of the day": "hour",
}
_TOKEN: Final = re.compile("%(.?)|[^%]")


@dataclass(frozen=True)
class Pattern:
    """A pattern that is sound.

    Attributes
    ----------
    expression
        What the whole stamp matches, in either case: a group for each of `letters`.
    letters
        Those behind `%`, in their order.
    sample
        A stamp that fits.
    """

    expression: str
    letters: tuple[str, ...]
    sample: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of a stamp in their order."""
        return tuple(_DIRECTIVES[letter].part for letter in self.letters)

    def fits(self, text: str) -> bool:
        """Whether a text is written so, whatever its numbers."""
        return re.fullmatch(self.expression, text, re.IGNORECASE | re.ASCII) is not None


@cache
def pattern(form: str) -> Pattern:
    """Read a pattern.

    Raises
    ------
    ValueError
        When it is none, or no stamp can be made of what it names.
    """
    tokens = [_Token(match[0], match[1]) for match in _TOKEN.finditer(re.sub(" +", " ", form))]
    letters = tuple(token.letter for token in tokens if token.letter)
    if unknown := [token.text for token in tokens if token.letter and token.letter not in _DIRECTIVES]:
        raise ValueError(f"expected %{', %'.join(_DIRECTIVES)} and %%, found {unknown[0]}")
    _require_parts(letters)
    return Pattern(
        "".join(
            token.expression(touches=before.is_digit or after.is_digit)
            for (before, token), (_, after) in pairwise(pairwise([_END, *tokens, _END]))
        ),
        letters,
        "".join(token.sample for token in tokens),
    )


@dataclass(frozen=True)
class _Token:
    """A letter of a pattern, or `%` with the letter behind it."""

    text: str
    behind: str | None

    @property
    def letter(self) -> str:
        """The letter of a directive; empty of what stands for itself."""
        return "" if self.behind in (None, "%") else self.behind or " "

    @property
    def is_digit(self) -> bool:
        """Whether a digit may stand at its ends."""
        return bool(_DIRECTIVES[self.letter].whole) if self.letter else self.text.isdigit()

    @property
    def sample(self) -> str:
        return _DIRECTIVES[self.letter].sample if self.letter else self.text[-1]

    def expression(self, *, touches: bool) -> str:
        if self.letter:
            directive = _DIRECTIVES[self.letter]
            return f"({(touches and directive.whole) or directive.expression})"
        return " +" if self.text == " " else re.escape(self.text[-1])


_END: Final = _Token("", None)


def _require_parts(letters: Iterable[str]) -> None:
    """Refuse letters that name a part twice, or no whole stamp."""
    named: dict[str, str] = {}
    for letter in letters:
        part = _DIRECTIVES[letter].part
        if part in named:
            raise ValueError(f"expected each part once, %{named[part]} and %{letter} are both the {part}")
        named[part] = letter
    if lacking := [part for part in _NEEDED if part not in named]:
        raise ValueError(f"expected year, month and day, found no {' and no '.join(lacking)}")
    if lonely := [part for part in named if _NEEDS.get(part, part) not in named]:
        raise ValueError(f"expected no {lonely[0]} without the {_NEEDS[lonely[0]]}")
    if (named.get("hour") == "I") is not ("half of the day" in named):
        raise ValueError("expected %I with %p, or %H alone")


def require_form(form: str) -> str:
    """Refuse what is no form of stamps.

    Raises
    ------
    ValueError
        Saying what is wrong with it.
    """
    if form in (ISO, *EPOCHS):
        return form
    if "%" not in form or not form.isprintable():
        names = (ISO, *EPOCHS)
        raise ValueError(f"expected {', '.join(names)} or a pattern such as {_SHOWN!r}{near(form, names)}")
    pattern(form)
    return form


def require_apart(forms: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse forms of which one stamp fits two, and is another moment by each.

    Raises
    ------
    ValueError
        Naming both, and such a stamp.
    """
    if len(units := [form for form in forms if form in EPOCHS]) > 1:
        raise ValueError(f"expected one unit of numbers, found {' and '.join(units)}")
    known = [(form, one) for form in forms if form not in EPOCHS for one in patterns(form)]
    for (form, one), (other, two) in permutations(known, 2):
        if two.fits(one.sample) and one.parts != two.parts:
            raise ValueError(f"expected forms that differ, {one.sample!r} fits {form!r} and {other!r}")
    for form, one in known:
        if units and _NUMBER.fullmatch(one.sample):
            raise ValueError(f"expected forms that differ, {one.sample!r} fits {form!r} and {units[0]!r}")
    return forms


def patterns(form: str) -> tuple[Pattern, ...]:
    """The pattern that a form is; several are ISO 8601."""
    return tuple(pattern(each) for each in (_ISO if form == ISO else (form,)))
