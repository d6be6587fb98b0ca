from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.expressions import parse
from lake.formats.dialect import CsvSection
from spark_jobs.casts import literal
from spark_jobs.computed import RawValues, readable

GERMAN = CsvSection(delimiter=";", decimal=",", thousands=".")

# A row of texts, as of CSV; what is not here, such as `gone`, no file has.
ROW = {
    "Quantity": "3",
    "Price": "2.55",
    "cents": "1999",
    "code": " 85123a ",
    "blank": " ",
    "word": "two",
    "zero": "0",
    "minus": "-4",
    "huge": "9999999999999",
    "Price (EUR)": "0.1",
    "user.id": "u7",
    "marked": "1.234,5",
}

# Expressions, our type that they make, and what they give.
NUMBERS = [
    ("Quantity * Price", "7.65"),
    ("cents / 100", "19.99"),
    ("Quantity - 3", "0"),  # a decimal of 0 may be spelled 0E-11
    ("`Price (EUR)` + 0.2", "0.3"),  # 0.30000000000000004 of doubles
    ("Quantity * -Price", "-7.65"),
    ("1 / Quantity", "0.33333333333"),
    ("2 / Quantity", "0.66666666667"),
    ("Price / zero", None),
    ("huge * huge", None),
    ("huge * 1 + 1", None),
    ("huge + 0.5", "9999999999999.5"),
    ("Quantity * blank", None),
    ("Quantity * word", None),
    ("Quantity * gone", None),
    ("coalesce(gone, blank, 2) * Quantity", "6"),
    ("coalesce(word, 2) * Quantity", "6"),
    ("round(Price, 1) + 0", "2.6"),
    ("abs(`minus`)", "4"),
    ("floor(Price)", "2"),
    ("ceil(Price)", "3"),
    ("round(Price)", "3"),
    ("replace(code, 'a', '') * 2", "170246"),  # blanks around it are no part of a number
    ("if(`minus` < 0, 0 - `minus`, `minus`)", "4"),
    ("if(word < 0, 1, 2)", None),
    ("if(Price <> 2.550 or Quantity >= 4, 1, 2)", "2"),
    ("if(Quantity = 3.0 and not blank is not null, 1, 2)", "1"),
    ("if(Quantity in (1, 3), 1, 2)", "1"),
    ("if(Quantity not in (1, 3), 1, 2)", "2"),
    ("marked * 2", None),
]
TEXTS = [
    ("upper(trim(code))", "85123A"),
    ("upper(code)", " 85123A "),
    ("concat(Quantity, '-', trim(code))", "3-85123a"),
    ("Quantity || blank", None),
    ("Quantity || coalesce(blank, '')", "3"),
    ("'it''s' || Quantity", "it's3"),
    ("'a\\\\n' || Quantity", "a\\n3"),
    ("Quantity * Price || ' EUR'", "7.65 EUR"),
    ("cents * 10 || ''", "19990"),
    ("Quantity - 3 || ''", "0"),
    ("left(word, 2)", "tw"),
    ("right(word, 2)", "wo"),
    ("substring(word, 2, 1)", "w"),
    ("substring(word, 9)", ""),
    ("split_part(user.id, 'u', 2)", "7"),
    ("split_part(user.id, '', 1)", "u7"),
    ("lpad(Quantity, 4, '0')", "0003"),
    ("lower('ÄB' || word)", "äbtwo"),
    ("replace(word, '', 'x')", "two"),
    ("if(word = 'two', 'a', 'b')", "a"),
    ("if(trim(code) = '85123A', 'a', 'b')", "b"),
    ("if(blank is null, 'none', blank)", "none"),
    ("trim(`user.id`)", "u7"),
]
CASES = [(text, "number", found) for text, found in NUMBERS] + [
    (text, "text", found) for text, found in TEXTS
]


@pytest.fixture(scope="module")
def values(spark):
    """A function: what expressions give of a row of texts."""

    def values(asked, row, csv=None):
        raw = RawValues("raw", dict.fromkeys(row, "text"), csv or CsvSection())
        fields = ", ".join(f"{literal(value)} AS `{name}`" for name, value in row.items())
        made = ", ".join(f"{raw.sql(parse(text), kind)} AS c{n}" for n, (text, kind) in enumerate(asked))
        return list(spark.sql(f"SELECT {made} FROM (SELECT struct({fields}) AS raw)").first())

    return values


@pytest.mark.spark
def test_an_expression_gives_exact_numbers_texts_or_nothing(values):
    found = values([case[:2] for case in CASES], ROW)
    assert [(*case[:2], _plain(one)) for case, one in zip(CASES, found, strict=True)] == CASES


def _plain(value):
    return f"{value.normalize():f}" if isinstance(value, Decimal) else value


@pytest.mark.spark
def test_numbers_are_read_by_the_marks_of_the_file(values):
    asked = [("marked * 2", "number"), ("Price + 0", "number"), ("replace(paid, ' EUR', '') * 1", "number")]
    row = {"marked": "1.234,5", "Price": "2.55", "paid": "7,65 EUR"}
    assert values(asked, row, GERMAN) == [Decimal("2469"), None, Decimal("7.65")]


# Raw values of Arrow's types, their family, an expression, and what it gives.
TYPED = [
    ("2.5D", "float", "x * 2", "number", Decimal(5)),
    ("0.1D + 0.2D", "float", "x * 10", "number", Decimal(3)),
    ("CAST('NaN' AS DOUBLE)", "float", "x * 2", "number", None),
    ("9223372036854775807", "integer", "x * 2", "number", None),
    ("'2.5'", "string", "x * 2", "number", Decimal(5)),
    ("1.50BD", "decimal", "x * 2", "number", Decimal(3)),
    ("18446744073709551615BD", "whole", "x || ''", "text", "18446744073709551615"),
    ("12D", "float", "x || ''", "text", "12"),
    ("true", "boolean", "x || ''", "text", "true"),
    ("NULL", "nothing", "coalesce(x, 'a')", "text", "a"),
    ("DATE'2024-01-02'", "date", "x || ' 10:00'", "text", "2024-01-02 10:00"),
    ("TIMESTAMP'2024-01-02 10:00:00.5Z'", "instant", "coalesce(x, '')", "text", "2024-01-02 10:00:00.5Z"),
    ("TIMESTAMP_NTZ'2024-01-02 10:00:00'", "local", "coalesce(x, '')", "text", "2024-01-02 10:00:00"),
    ("1704189600000000000L", "instant_ns", "coalesce(x, '')", "text", "2024-01-02 10:00:00Z"),
    ("1704189600000000000L", "local_ns", "coalesce(x, '')", "text", "2024-01-02 10:00:00"),
]


@pytest.mark.spark
def test_operands_may_be_of_any_type_that_numbers_or_texts_are_read_of(spark):
    asked = [
        RawValues(f"r{n}", {"x": family}).sql(parse(text), kind)
        for n, (_, family, text, kind, _) in enumerate(TYPED)
    ]
    rows = ", ".join(f"struct({value} AS x) AS r{n}" for n, (value, *_) in enumerate(TYPED))
    names = ", ".join(f"{sql} AS c{n}" for n, sql in enumerate(asked))
    assert list(spark.sql(f"SELECT {names} FROM (SELECT {rows})").first()) == [case[-1] for case in TYPED]
    assert all(readable(family, kind) for _, family, text, kind, _ in TYPED if text.startswith("x *"))


@pytest.mark.parametrize(
    ("family", "kind", "can"),
    [
        ("boolean", "number", False),
        ("instant", "number", False),
        ("other", "number", False),
        ("other", "text", False),
        ("local_ns", "text", True),
        ("boolean", "text", True),
        ("nothing", "number", True),
    ],
)
def test_a_file_is_refused_whose_type_is_no_operand(family, kind, can):
    assert readable(family, kind) is can


LARGEST = 10**13
numbers = st.decimals(-LARGEST, LARGEST, places=4) | st.integers(-1000, 1000).map(Decimal)


@pytest.mark.spark
@settings(max_examples=3)
@given(st.lists(st.tuples(numbers, numbers), min_size=50, max_size=50))
def test_each_step_is_that_of_exact_decimals(values, pairs):
    row = {
        f"{name}{n}": f"{each:f}"
        for n, pair in enumerate(pairs)
        for name, each in zip("ab", pair, strict=True)
    }
    asked = [(f"a{n} {sign} b{n}", "number") for n in range(len(pairs)) for sign in "*/+-"]
    expected = [_exact(a, sign, b) for a, b in pairs for sign in "*/+-"]
    assert values(asked, row) == expected


def _exact(a, sign, b):
    """In decimals of many digits, rounded once."""
    with localcontext() as context:
        context.prec = 100
        if LARGEST in (abs(a), abs(b)) or (sign == "/" and not b):
            return None
        made = {"*": a * b, "/": b and a / b, "+": a + b, "-": a - b}[sign]
        rounded = made.quantize(Decimal("1e-11"), ROUND_HALF_UP)
        return rounded if abs(rounded) < LARGEST else None
