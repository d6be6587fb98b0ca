"""Which raw column is which of ours: by its name, and by what it holds."""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lake.schemas import AMOUNT, CONTEXT, EVENT_TS, EVENT_TYPE, ITEM, QUANTITY, SEGMENT, USER
from lake.stamps import pattern
from nightjar.guesses.rows import Rows

NAMES: Final[Mapping[str, str]] = {
    EVENT_TS: "eventts eventtime eventtimestamp timestamp invoicedate orderdate purchasedate orderedat "
    "boughtat createdat occurredat transactiontimestamp transactiondate unixreviewtime ratedat datetime ts "
    "time date at day",
    USER: "userid visitorid customerid customer customernumber customerno custid memberid householdid "
    "clientid shopperid buyerid accountid reviewerid fullvisitorid visitor household member client shopper "
    "uid user sessionid",
    ITEM: "itemid productid movieid stockcode sku articleid articlenumber articleno asin parentasin bookid "
    "isbn songid trackid videoid gameid contentid productcode itemcode product article movie item id",
    EVENT_TYPE: "eventtype event eventname action actiontype behavior behaviortype type activity",
    QUANTITY: "quantity qty pieces count units amountofpieces number",
    AMOUNT: "amount salesvalue totalprice linetotal total revenue paid sales turnover price unitprice value",
    CONTEXT: "basketid invoice invoiceno invoiceid orderid ordernumber order basket cartid transactionid "
    "usersession sessionid session visitid",
    SEGMENT: "storeid store shop shopid branch country market region channel segment",
}
"""Names of columns as shops and public data sets have them, without case and marks, the surest first."""
UNIT_PRICES: Final = frozenset({"price", "unitprice"})
RATINGS: Final = frozenset({"rating", "ratings", "stars", "score", "overall"})

_LOOKED_AT: Final = 2000
_MOST: Final = 0.9
_EPOCH: Final = re.compile(r"\d{9,}(\.\d+)?")
_WHOLE: Final = re.compile(r"[+-]?\d+(\.0+)?")
_NUMBER: Final = re.compile(r"[+-]?(\d+|\d{1,3}([., ]\d{3})+)?([.,]\d+)?")
_CLOCK: Final = r"\d\d:\d\d(:\d\d([.]\d{1,9})?)? ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)?"
_ISO: Final = re.compile(rf"\d{{4}}-\d\d-\d\d([T ]{_CLOCK})?", re.IGNORECASE)
_ZONE: Final = re.compile(r"(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)$", re.IGNORECASE)
_EPOCHS: Final = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6, "epoch_ns": 10**9}
_DATES: Final = (
    *("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d", "%d.%m.%y", "%m/%d/%y"),
    *("%d/%m/%y", "%d %b %Y", "%b %d, %Y"),
)
_TIMES: Final = (
    "",
    " %H:%M",
    " %H:%M:%S",
    "T%H:%M:%S",
    "%H%M%S",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %H:%M:%S %z",
)
_FIRST, _LAST = 946_684_800, 4_102_444_800  # 2000 and 2100: other whole numbers are ids
_EARLIEST: Final = 631_152_000  # 1990, for columns whose name says that they are stamps
_TYPED: Final = frozenset({"instant", "local", "instant_ns", "local_ns", "date"})


@dataclass(frozen=True)
class Column:
    """A raw column that is taken for one of ours.

    Attributes
    ----------
    name, why
        The raw column, and what says so.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Stamps:
    """How a column writes its stamps.

    Attributes
    ----------
    forms, why
        The value of ``raw.stamps``, none where they are ISO or typed, and what it rests on.
    days
        The first and the last day.
    is_local
        Whether they name no zone.
    """

    forms: tuple[str, ...]
    days: tuple[dt.date, dt.date]
    why: str = ""
    is_local: bool = False


def roles(rows: Rows) -> dict[str, Column]:
    """For each of our columns the raw one, where there is one that may be it."""
    found: dict[str, Column] = {}
    for role, names in NAMES.items():
        free = [name for name in rows.columns if name not in {column.name for column in found.values()}]
        if best := _by_name(names.split(), [name for name in free if _may_be(role, name, rows)]):
            found[role] = best
    for role in (EVENT_TS, USER, ITEM):
        if role not in found and (best := _by_content(role, found, rows)):
            found[role] = best
    return {role: found[role] for role in NAMES if role in found}


def plain(name: str) -> str:
    """A name without case, marks and blanks."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _by_name(wanted: list[str], names: Iterable[str]) -> Column | None:
    spelled = [(name, form) for name in names for form in (plain(name), plain(name.rpartition(".")[2]))]
    for form in wanted:
        if name := next((name for name, own in spelled if own == form), ""):
            return Column(name, "by its name")
    return None


def _by_content(role: str, found: Mapping[str, Column], rows: Rows) -> Column | None:
    taken = {column.name for column in found.values()}
    for name in rows.columns:
        if name not in taken and _looks_like(role, name, rows):
            what = "stamps" if role == EVENT_TS else "the first ids that nothing else is"
            return Column(name, f"UNSURE: it holds {what}, its name does not say so")
    return None


def _looks_like(role: str, name: str, rows: Rows) -> bool:
    if role == EVENT_TS:
        return stamps(name, rows, _FIRST) is not None
    values = given(rows.columns[name])
    few = len(set(values)) <= min(10, len(values) / 4)  # as ratings and types
    return not few and not _is_iso(name, rows) and (_all(_WHOLE, values) or not _all(_NUMBER, values))


def _may_be(role: str, name: str, rows: Rows) -> bool:
    """Whether the values of a column do not speak against it."""
    values = given(rows.columns[name])
    if not values:
        return False
    tests: dict[str, Callable[[], bool]] = {
        EVENT_TS: lambda: stamps(name, rows) is not None,
        USER: lambda: _is_id(values),
        ITEM: lambda: _is_id(values),
        EVENT_TYPE: lambda: len(set(values)) <= 30 and not _all(_NUMBER, values),
        QUANTITY: lambda: _all(_NUMBER, values),
        AMOUNT: lambda: _all(_NUMBER, values),
        CONTEXT: lambda: True,
        SEGMENT: lambda: len(set(values)) <= max(2, len(values) / 2),
    }
    return tests[role]()


def _is_id(values: list[str]) -> bool:
    return _all(_WHOLE, values) or not _all(_NUMBER, values)


def given(values: Iterable[str | None]) -> list[str]:
    """The values that are there, of the first rows."""
    shown = (value.strip() for value in list(values)[:_LOOKED_AT] if value is not None)
    return [value for value in shown if value]


def _all(pattern: re.Pattern[str], values: Iterable[str]) -> bool:
    """Whether nearly all values are of a pattern."""
    told = [bool(pattern.fullmatch(value)) for value in values]
    return bool(told) and sum(told) >= _MOST * len(told)


def _is_iso(name: str, rows: Rows) -> bool:
    return rows.families.get(name) in _TYPED or _all(_ISO, given(rows.columns[name]))


def stamps(name: str, rows: Rows, earliest: int = _EARLIEST) -> Stamps | None:
    """How a column writes its stamps; None where it does not seem to hold any.

    Parameters
    ----------
    earliest
        The first second since 1970 that is not taken for an id.
    """
    values = given(rows.columns[name])
    if _is_iso(name, rows):
        days = sorted(day for value in values if (day := _day(value)))
        return Stamps((), (days[0], days[-1]), is_local=_is_local(name, values[0], rows)) if days else None
    return _of_epoch(values, earliest) or _of_pattern(values)


def _of_epoch(values: list[str], earliest: int) -> Stamps | None:
    numbers = [float(value) for value in values if _EPOCH.fullmatch(value)]
    if not numbers or len(numbers) < _MOST * len(values):
        return None
    for unit, factor in _EPOCHS.items():
        first, last = min(numbers) / factor, max(numbers) / factor
        if earliest <= first and last < _LAST:
            days = tuple(dt.datetime.fromtimestamp(second, dt.UTC).date() for second in (first, last))
            return Stamps((unit,), (days[0], days[1]), f"{values[0]} is {days[0]} then")
    return None


def _of_pattern(values: list[str]) -> Stamps | None:
    """Stamps by a pattern; where another order of day and month is possible too, it is named."""
    if not values or not re.search(r"\d", values[0]):
        return None
    fitting = [form for date in _DATES for time in _TIMES if _fits(form := date + time, values)]
    if not fitting:
        return None
    days = sorted(day for value in values if (day := _parsed(value, fitting[0])))
    other = f". UNSURE: {fitting[1]} fits too" if len(fitting) > 1 else ""
    is_local = "%z" not in fitting[0]
    return Stamps((fitting[0],), (days[0], days[-1]), f"{values[0]} is {days[0]} then{other}", is_local)


def _fits(form: str, values: list[str]) -> bool:
    """Whether nearly all values are stamps by a pattern, as ingest reads it."""
    fits = pattern(form).fits
    return fits(values[0]) and sum(
        fits(value) and _parsed(value, form) is not None for value in values
    ) >= _MOST * len(values)


def _parsed(text: str, form: str) -> dt.date | None:
    try:
        return dt.datetime.strptime(text, form).date()
    except ValueError:
        return None


def _is_local(name: str, value: str, rows: Rows) -> bool:
    """Whether stamps name no zone."""
    is_instant = rows.families.get(name, "").startswith("instant")
    return not is_instant and _ZONE.search(value[10:]) is None


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        return None


def id_type(names: Iterable[str], rows: Rows) -> tuple[str, str]:
    """The kind of ids that columns hold, and why."""
    for name in names:
        odd = next((value for value in _every(rows.columns[name]) if not _WHOLE.fullmatch(value)), None)
        zeros = next((value for value in _every(rows.columns[name]) if re.match(r"[+-]?0\d", value)), None)
        if odd or zeros:
            return "string", f"{name} holds {(odd or zeros)!r}" + (
                "" if odd else ", whose zero would be lost"
            )
    return "int64", "all ids are whole numbers"


def _every(values: Iterable[str | None]) -> Iterator[str]:
    return (value.strip() for value in values if value is not None and value.strip())
