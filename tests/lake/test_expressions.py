"""What of a data set's columns is a name, what an expression, and what is refused before anything runs."""

import subprocess
import sys

import pytest

from lake.dataset import CONFIG_DIR, read_dataset
from lake.errors import ConfigError
from lake.expressions import columns_of, hint, is_expression, parse, uses

SHIPPED = (CONFIG_DIR / "complete_journey.toml").read_text(encoding="utf-8")

NAMES = [
    "Customer ID",
    "Price (EUR)",
    "Price(EUR)",
    "sum(amount)",
    "user.id",
    "user-id",
    "km/h",
    "a*b",
    "A+B",
    "Profit %",
    "R & D",
    "amount[0]",
    "upper",
    "upper (x)",
    "upper(x) EUR",
    "*",
    "a *",
    "5",
    "'text'",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_looks_like_no_expression_is_a_name(name):
    assert not is_expression(name)
    assert columns_of(name) == (name,)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("`Sales - Total`", "Sales - Total"),
        ("`upper(x)`", "upper(x)"),
        ("`a``b`", "a`b"),
        ("`plain`", "plain"),
    ],
)
def test_backticks_make_a_name(text, name):
    assert not is_expression(text)
    assert columns_of(text) == (name,)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Quantity * Price", ["Quantity", "Price"]),
        ("cents / 100", ["cents"]),
        ("upper(trim(StockCode))", ["StockCode"]),
        ("UPPER(Größe)", ["Größe"]),
        ("`Price (EUR)` * Quantity", ["Price (EUR)", "Quantity"]),
        ("a.b.c.d.e.f * `x.y`", ["a.b.c.d.e.f", "x.y"]),
        ("coalesce(a, b, a) - a", ["a", "b"]),
        ("date || ' ' || time", ["date", "time"]),
        ("if(type in ('a', 'b') and x is not null, y, 0 - z)", ["type", "x", "y", "z"]),
        ("current_date || x", ["current_date", "x"]),  # a name as any other, which a file has or not
        ("a\t*\tb", ["a", "b"]),
    ],
)
def test_an_expression_names_its_columns(text, columns):
    assert is_expression(text)
    assert list(columns_of(text)) == columns


def test_the_use_of_a_column_says_as_what_it_is_read():
    text = "if(a = 1 and b = c and trim(d) <> e, f, left(g, 2))"
    kinds = [("a", "number"), *((name, "text") for name in "bcdefg")]
    assert uses(parse(text), "text") == kinds
    assert uses(parse("if(a = 'x', f, g)"), "number") == [("a", "text"), ("f", "number"), ("g", "number")]


OTHERS = [
    "rand() * 2",
    "a * now()",
    "sum(a) / 2",
    "count(*) + 1",
    "lag(a) over (order by b) + 1",
    "(select max(a) from b) + c",
    "upper(a.b())",
    "cast(a as int) * 2",
    "a::int * 2",
    "a * b as c",
    "a * Customer ID",
    "Price (EUR) * Quantity",
    "a * b -- c",
    "a /* x */ * b",
    "a * b; drop",
    "upper(distinct a)",
    "upper(a.*)",
    "a * {b}",
    "a * ?",
    "a * @b",
    "a * x[0]",
    "a * null",
    "a * true",
    "a * 0x10",
    "interval '1' day + a",
    "case when a = 1 then b else c end || d",
    "date '2020-01-01' || a",
    "trim(both 'x' from a)",
    "a * ",
    "a * (b",
    "upper(lower(a)",
    "abs(x => 2)",
    "a between 1 and 2 + 3",
    "a like 'x' || b",
    "a -> b + c",
    "upper(a) filter (where b) || c",
    "uuid() || a",
    "exists(select 1) || a",
    "monotonically_increasing_id() + a",
    "a || b || 'x",
]


@pytest.mark.parametrize("text", OTHERS)
def test_only_pure_functions_of_the_row_are_taken(text):
    with pytest.raises(ValueError, match=r"expected (an expression of columns|\d).*, found "):
        parse(text if is_expression(text) else f"concat({text}, 'x')")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a * 'x'", "expected a number, found the text 'x'"),
        ("upper(a = b)", "expected a text, found =, which gives a condition"),
        ("if(a, b, c)", "expected a condition, found the column a; compare it"),
        ("if(a + 1, b, c)", r"expected a condition, found \+, which gives a number"),
        ("a < b + 2", "expected a number or a text, found a condition"),
        ("if(not 'x', a, b)", "expected a condition, found the text 'x'"),
        ("1 + 2", "expected an expression of at least one column, found none"),
        ("left(a, b)", "expected a number from 1 to 1000 in left, written out"),
        ("left(a, 0)", "expected a number from 1 to 1000 in left, written out"),
        ("left(a, '2')", "expected a number from 1 to 1000 in left, written out"),
        ("round(a, 1.5)", "expected a number from 1 to 1000 in round, written out"),
        ("split_part(a)", "expected 3 arguments of split_part, found 1"),
        ("concat(a)", "expected 2 to more arguments of concat, found 1"),
        ("substring(a)", "expected 2 to 3 arguments of substring, found 1"),
        ("a * 1e3", "expected a number of at most 13 digits and 11 decimals, found 1e3"),
        ("a * 12345678901234", "expected a number of at most 13 digits and 11 decimals"),
        ("a * 0.123456789012", "expected a number of at most 13 digits and 11 decimals"),
        ("a + " * 400 + "a", "expected an expression of at most 1000 letters, found 1601"),
        ("a + " + "(" * 450 + "a" + ")" * 450, "expected an expression of"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_found(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


@pytest.fixture
def read(tmp_path):
    """A function: the demo's data set with other raw columns, by the lines that they replace."""

    def read(unparsed=False, of="raw", **lines):
        text = SHIPPED
        for name, value in lines.items():
            head, _, rest = text.partition(f"[{of}.columns]")
            line = next(line for line in rest.splitlines() if line.startswith(f"{name} = "))
            text = f"{head}[{of}.columns]{rest.replace(line, f'{name} = {value!r}', 1)}"
        path = tmp_path / "data.toml"
        path.write_text(text, encoding="utf-8")
        return read_dataset.__wrapped__(str(path), unparsed)

    return read


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            {"amount": "rand() * 2"},
            r"raw\.columns\.amount: expected an expression of .*found the function rand",
        ),
        ({"event_ts": "at / 1000"}, r"raw\.columns\.event_ts: expected a text that is a stamp, found an exp"),
        (
            {"amount": "`quantity`"},
            r"raw\.columns\.amount: expected a column of its own, '`quantity`' is quan",
        ),
        (
            {"of": "catalogue", "name": "upper(1)"},
            r"catalogue\.columns\.name: expected an expression of at lea",
        ),
    ],
)
def test_a_data_set_is_refused_by_the_key_of_a_wrong_expression(read, lines, message):
    with pytest.raises(ConfigError, match=message):
        read(**lines)


def test_a_column_is_optional_unless_a_needed_one_of_ours_names_it(read):
    columns = read(amount="units * price", item_id="concat(kind, units)").raw.columns
    assert {"units", "kind"}.isdisjoint(columns.optional)
    assert {"price", "quantity"} <= columns.optional


def test_a_catalogue_may_lack_no_mapped_column_but_the_brand(read):
    """Those that it need not map were needed, and a file without one is no good one."""
    assert read().catalogue.columns.optional == {"brand"}


def test_two_columns_of_a_catalogue_may_be_one(read):
    columns = read(of="catalogue", category="kind", subcategory="kind").catalogue.columns
    assert columns.category == columns.subcategory == "kind"


def test_a_name_in_backticks_is_part_of_the_digest_as_it_is_written(read):
    assert read(amount="`sales - total`").raw.columns.optional >= {"sales - total"}


def test_names_that_no_file_has_are_told_how_expressions_look():
    assert "a*b is read as a name" in hint(["plain", "a*b"])
    assert "sqrt(x) is read as a name" in hint(["sqrt(x)"])
    assert hint(["Customer ID", "Price (EUR)"]) == ""


LOADED = """
import sys
from lake.dataset import read_dataset
read_dataset({name!r}, unparsed={unparsed})
print("sqlglot" in sys.modules)
"""


@pytest.mark.parametrize(("expressions", "unparsed", "loaded"), [(1, 0, 1), (1, 1, 0), (0, 0, 0)])
def test_the_parser_is_loaded_for_expressions_alone_and_never_by_dags(
    read, tmp_path, expressions, unparsed, loaded
):
    read(**({"amount": "quantity * sales_value"} if expressions else {}))
    code = LOADED.format(name=str(tmp_path / "data.toml"), unparsed=bool(unparsed))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(bool(loaded))
