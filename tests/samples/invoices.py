"""A sample of an online shop's invoices: the layout of `config/invoices.toml`, one file over all days.

    python tests/samples/invoices.py FOLDER

It is that of the UCI data sets Online Retail, with their faults: returns, postage and fees between the
goods, rows without a customer, stock that was written off, lines that are there twice, codes in either
case, and descriptions in a Windows encoding.
"""

import csv
import datetime as dt
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from crowd import Crowd, Visit

FIRST, LAST = dt.date(2009, 12, 1), dt.date(2010, 1, 20)
CROWD = Crowd(active=0.5)
SATURDAY = 5
HOLIDAYS = {dt.date(2009, 12, 24) + dt.timedelta(days=n) for n in range(11)}
HEADER = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")
SERVICES = (("POST", "POSTAGE"), ("BANK CHARGES", "Bank Charges"), ("M", "Manual"), ("D", "Discount"))
NAMES = ("CANDLE HOLDER", "CAKE TINS, PANTRY DESIGN", "£ MONEY BOX ", 'SIGN "CAFÉ"')

Row = tuple[str, ...]
Planted = dict[dt.date, Counter[str]]
"""Of each day with rows how many there are of each kind."""


def code(item: int) -> str:
    """The stock code of an item; colours have a letter."""
    return f"{22000 + item}{'A' if item % 5 == 0 else ''}"


def customer(person: int) -> str:
    """The id of a customer, as a spreadsheet writes a column of numbers that has gaps."""
    return f"{12346 + person}.0"


def is_open(day: dt.date) -> bool:
    """Whether invoices are written on a day."""
    return day.weekday() != SATURDAY and day not in HOLIDAYS


def write(folder: Path) -> Planted:
    """Write the file; the same bytes each time."""
    planted: Planted = defaultdict(Counter)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "online_retail.csv").open("w", encoding="cp1252", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for offset in range((LAST - FIRST).days + 1):
            day = FIRST + dt.timedelta(days=offset)
            for kind, row in _rows(day) if is_open(day) else ():
                writer.writerow(row)
                planted[day][kind] += 1
    return planted


def _rows(day: dt.date) -> Iterator[tuple[str, Row]]:
    """The rows of a day, each with its kind."""
    earlier = (day - FIRST).days * 1000
    first: tuple[str, Row] | None = None
    for number, visit in enumerate(CROWD.visits(day), 489_000 + earlier):
        for item in visit.picks:
            row = _row(f"{number}", day, visit, code(item), _name(item), 1 + item % 6, 0.85 + item % 9)
            first = first or ("clean", row)
            yield "clean", row
        yield from _extras(f"{number}", day, visit)
    if first:
        yield "duplicate", first[1]


def _extras(invoice: str, day: dt.date, visit: Visit) -> Iterator[tuple[str, Row]]:
    """What stands beside the goods: of every few customers something."""
    item = visit.picks[0]
    goods = code(item), _name(item)
    if visit.person % 7 == 0:
        name = SERVICES[visit.person // 7 % len(SERVICES)]
        yield "excluded", _row(invoice, day, visit, *name, 1, 18.0)
    if visit.person % 9 == 0:
        yield "return", _row(f"C{invoice}", day, visit, *goods, -1, 2.55)
    if visit.person % 5 == 0:
        yield "ignored", _of_nobody(_row(invoice, day, visit, *goods, 2, 4.13))
    if visit.person % 40 == 0:
        yield "ignored", _of_nobody(_row(invoice, day, visit, goods[0], "damages", -12, 0.0))
    if visit.person % 11 == 0 and goods[0][-1] == "A":
        yield "clean", _row(invoice, day, visit, goods[0].lower(), goods[1], 1, 0.85)


def _row(invoice: str, day: dt.date, visit: Visit, stock: str, name: str, quantity: int, price: float) -> Row:
    minute = visit.second // 60
    at = f"{day.month}/{day.day}/{day.year} {minute // 60}:{minute % 60:02d}"
    country = "EIRE" if visit.person % 10 == 3 else "United Kingdom"
    return invoice, stock, name, str(quantity), at, f"{price:.2f}", customer(visit.person), country


def _of_nobody(row: Row) -> Row:
    *others, _, country = row
    return (*others, "", country)


def _name(item: int) -> str:
    return f"{NAMES[CROWD.topic(item)]} {item // CROWD.topics}"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
