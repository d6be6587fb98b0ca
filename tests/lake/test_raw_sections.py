"""What a data set may say of its CSV files; each key that cannot work is refused by its name."""

import datetime as dt
import re
from types import SimpleNamespace

import pytest

from lake.dataset import CONFIG_DIR, Dataset, digest_of, of_sections, read_dataset
from lake.errors import ConfigError
from lake.formats.dialect import RFC_4180, CsvSection
from lake.partitions import days
from nightjar.stages.ingest import Ingest

SHIPPED = (CONFIG_DIR / "complete_journey.toml").read_text(encoding="utf-8")
OF_CSV = SHIPPED.replace('format = "parquet"', 'format = "csv"')
NAMES = '["household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "at"]'


@pytest.fixture
def data_set(tmp_path):
    """A data set by the text of its TOML."""

    def read(text: str) -> Dataset:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.toml"
        path.write_text(text, encoding="utf-8")
        return read_dataset(str(path))

    return read


@pytest.mark.parametrize("of", ["raw", "catalogue"])
@pytest.mark.parametrize(
    ("key", "told"),
    [
        ('delimiter = ""', "delimiter: expected a letter or several, none of which is a line end, found ''"),
        ('delimiter = "::"', "quote: expected none .* as delimiter has several letters, found '\"'"),
        ('delimiter = "::"\nquote = ""\nescape = "|"', "escape: expected none .* as delimiter has several"),
        ('delimiter = "::"\nquote = ""\ncomment = ":"', "comment: expected a text that begins no row, ':'"),
        ('delimiter = ":\\n"', "delimiter: expected a letter or several"),
        ('quote = ","', "quote: expected a letter of its own, ',' is delimiter already"),
        ("quote = '\"\"'", "quote: expected one letter"),
        ("escape = '\"'", "escape: expected a letter of its own, '\"' is quote already"),
        ('escape = ","', "escape: expected a letter of its own, ',' is delimiter already"),
        ('encoding = "latin-11"', "encoding: expected an encoding that Python knows.*did you mean latin"),
        ('encoding = ""', "encoding: expected an encoding that Python knows"),
        *(
            (f'encoding = "{name}"', "encoding: expected an encoding of text whose lines can be read")
            for name in ("utf-7", "cp037", "iso2022_jp", "hz", "idna", "unicode_escape", "hex", "rot13")
        ),
        ('columns = ["a", "a"]', "columns: expected each value once, a is repeated"),
        ('columns = [" a"]', r"columns\.0: "),
        ('nulls = [""]', r"nulls\.0: "),
        ('nulls = "NULL"', "nulls: "),
        ('comment = ", x"', "comment: expected a text that begins no row, ',' is delimiter already"),
        ("comment = '\"'", "comment: expected a text that begins no row, '\"' is quote already"),
        ('comment = " "', "comment: "),
        ('decimal = ""', "decimal: expected one letter"),
        ('decimal = "5"', "decimal: expected a mark that is no digit, letter or sign, found '5'"),
        ('decimal = "-"', "decimal: expected a mark that is no digit, letter or sign, found '-'"),
        ('decimal = "e"', "decimal: expected a mark"),
        ("decimal = '\"'", "decimal: expected a letter of its own, '\"' is quote already"),
        ('decimal = ","\nquote = ""', "decimal: expected a letter of its own, ',' is delimiter already"),
        ('thousands = "0"', "thousands: expected a mark that is no digit, letter or sign"),
        ('thousands = "."', "thousands: expected a letter of its own, '.' is decimal already"),
        ('delimiters = ";"', "delimiters: there is no such key .did you mean delimiter"),
    ],
)
def test_a_letter_or_name_that_cannot_work_is_refused_by_its_key(data_set, of, key, told):
    with pytest.raises(ConfigError, match=rf"toml: {of}\.csv\.{told}") as raised:
        data_set(f"{OF_CSV}\n[{of}.csv]\n{key}\n")
    assert ";" not in str(raised.value)  # nothing else is blamed


@pytest.mark.parametrize("of", ["raw", "catalogue"])
@pytest.mark.parametrize(
    ("table", "form"), [("csv", "parquet"), ("csv", "json"), ("nested", "csv"), ("nested", "parquet")]
)
def test_a_table_is_refused_where_files_are_of_another_format(data_set, of, table, form):
    told = rf"toml: {of}\.{table}: expected no such table, as format is {form}$"
    with pytest.raises(ConfigError, match=told):
        data_set(SHIPPED.replace('"parquet"', f'"{form}"') + f"\n[{of}.{table}]\n")


@pytest.mark.parametrize("of", ["raw", "catalogue"])
@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_an_array_to_explode_is_a_name(data_set, of, form):
    text = SHIPPED.replace('"parquet"', f'"{form}"') + f"\n[{of}.nested]\n"
    plain = data_set(SHIPPED.replace('"parquet"', f'"{form}"'))
    assert (data_set(text), _of_ingest(data_set(text))) == (plain, _of_ingest(plain))
    changed = data_set(text + 'explode = "order.items"\n')
    assert getattr(changed, of).nested.explode == "order.items"
    assert _of_ingest(changed) != _of_ingest(plain)
    for wrong in ('""', '" items"', '["items"]', "1"):
        with pytest.raises(ConfigError, match=rf"toml: {of}\.nested\.explode"):
            data_set(text + f"explode = {wrong}\n")


def test_a_format_that_there_is_not_is_refused_with_those_that_there_are(data_set):
    with pytest.raises(ConfigError, match=r"raw\.format: expected parquet, csv, jsonl, json.*mean parquet"):
        data_set(SHIPPED.replace('format = "parquet"', 'format = "parket"'))


def test_names_of_columns_have_to_hold_those_that_are_mapped(data_set):
    with pytest.raises(ConfigError, match=r"raw\.csv: its columns lack basket_id, household_id, product_id"):
        data_set(f'{OF_CSV}\n[raw.csv]\ncolumns = ["quantity", "sales_value"]\n')


def test_a_catalogue_may_have_one_column_for_both_groups(data_set):
    """As raw columns are, it was refused, although the page says that it may be."""
    told = data_set(SHIPPED.replace('subcategory = "subcategory"', 'subcategory = "category"'))
    assert told.catalogue.columns.subcategory == told.catalogue.columns.category == "category"


def test_names_of_columns_have_to_hold_those_of_the_event_key(data_set):
    text = OF_CSV.replace("[raw.columns]", 'event_key = ["basket_id", "line"]\n[raw.columns]')
    names = NAMES.replace('"at"', '"transaction_timestamp"')
    with pytest.raises(
        ConfigError, match=r"raw\.csv: its columns lack line, which the table beside it names"
    ):
        data_set(f"{text}\n[raw.csv]\ncolumns = {names}\n")


def test_the_event_key_is_in_no_digest_but_where_it_is_given(data_set):
    plain = data_set(SHIPPED)
    assert "event_key" not in plain.chosen(["raw"])["raw"]
    keyed = data_set(SHIPPED.replace("[raw.columns]", 'event_key = ["basket_id"]\n[raw.columns]'))
    assert _of_ingest(keyed) != _of_ingest(plain)


def test_what_returns_are_settled_by_has_to_be_mapped(data_set):
    text = SHIPPED.replace(
        "[rules]", '[rules]\nreturns = "net"\nnet_by = ["item_id", "context_id", "segment"]'
    )
    data_set(text)
    bare = re.sub(r"^(context_id|segment) = .*$", "", text, flags=re.MULTILINE)
    told = r"rules\.net_by: expected columns that raw\.columns maps, found context_id, segment"
    with pytest.raises(ConfigError, match=told):
        data_set(bare)


EXCLUDE = "\n[rules.exclude]\n"


def test_what_is_left_out_is_in_no_digest_but_where_it_is_given(data_set):
    plain = data_set(SHIPPED)
    assert not {"exclude", "net_by"} & plain.chosen(["rules"])["rules"].keys()
    assert _of_ingest(data_set(SHIPPED + EXCLUDE)) == _of_ingest(plain)
    digests = [_of_ingest(data_set(f"{SHIPPED}{EXCLUDE}{line}")) for line in EXCLUDED]
    assert len({*digests, _of_ingest(plain)}) == len(EXCLUDED) + 1


EXCLUDED = [
    'items = ["POST"]',
    'item_patterns = ["POST"]',
    'users = ["POST"]',
    'user_patterns = ["POST"]',
    "bot_deviations = 5",
    "bot_min_rows = 5",
]


def test_the_ids_of_a_file_count_and_neither_its_name_nor_its_order(data_set, tmp_path):
    """They travel by value: whoever works on a plan may not have the file."""
    (tmp_path / "one.txt").write_text("POST\nBANK CHARGES\n", encoding="utf-8")
    (tmp_path / "two.txt").write_bytes("\ufeff\r\n BANK CHARGES \r\nPOST\r\nPOST".encode())
    one, two = (data_set(f'{SHIPPED}{EXCLUDE}items_file = "{name}.txt"') for name in ("one", "two"))
    assert one.rules.exclude.items_file == ("BANK CHARGES", "POST")
    assert _of_ingest(one) == _of_ingest(two)
    assert of_sections(one.chosen(Ingest.SECTIONS)).rules == one.rules
    (tmp_path / "one.txt").write_text("POST\n", encoding="utf-8")
    assert _of_ingest(data_set(f'{SHIPPED}{EXCLUDE}items_file = "one.txt"')) != _of_ingest(one)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"th\xe9", "\n".join(map(str, range(10_001))).encode()])
def test_a_file_of_no_ids_or_too_many_or_other_bytes_is_refused(data_set, tmp_path, content):
    (tmp_path / "ids.txt").write_bytes(content)
    told = (
        r"rules\.exclude\.users_file: expected (1 to 10,000 ids, one a line|a file of ids in UTF-8), found "
    )
    with pytest.raises(ConfigError, match=told):
        data_set(f'{SHIPPED}{EXCLUDE}users_file = "ids.txt"')


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("latin1", "iso8859-1"),
        ("Windows-1252", "cp1252"),
        ("UTF8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf_16", "utf-16"),
        ("UTF-16LE", "utf-16-le"),
        ("cp1250", "cp1250"),
        ("shift_jis", "shift_jis"),
        ("gb18030", "gb18030"),
        ("koi8-r", "koi8-r"),
    ],
)
def test_all_names_of_an_encoding_are_one_setting(name, python):
    assert CsvSection(encoding=name).encoding == python


def test_a_number_in_quotes_may_hold_the_delimiter():
    assert CsvSection(decimal=",", thousands=".").decimal == ","
    assert CsvSection(decimal=",", quote="", escape="\\").decimal == ","


def _of_ingest(data):
    return digest_of(data.chosen(Ingest.SECTIONS))


def test_a_table_that_says_nothing_else_is_in_no_digest(data_set):
    """The records of every data set would have become stale."""
    plain = data_set(OF_CSV)
    assert "csv" not in plain.chosen(["raw"])["raw"] | plain.chosen(["catalogue"])["catalogue"]
    for table in ("", 'delimiter = ","\nencoding = "UTF-8"\n'):
        told = data_set(f"{OF_CSV}\n[raw.csv]\n{table}\n[catalogue.csv]\n{table}")
        assert (_of_ingest(told), told) == (_of_ingest(plain), plain)


CHANGES = {
    "delimiter": '";"',
    "quote": '""',
    "escape": '"$"',
    "encoding": '"latin-1"',
    "columns": NAMES,
    "nulls": '["NULL"]',
    "comment": '"#"',
    "decimal": '","',
    "thousands": '"\'"',
}


@pytest.mark.parametrize("key", CsvSection.model_fields)
def test_each_key_is_in_the_digest_of_what_ingest_reads(data_set, key):
    names = set(re.findall(r'"(\w+)"', NAMES))
    text = re.sub(r"^(event_ts|quantity|amount) = .*$", r'\1 = "at"', OF_CSV, flags=re.MULTILINE)
    text = text.replace('amount = "at"', 'amount = "sales_value"').replace('quantity = "at"', "")
    plain = data_set(text)
    assert set(plain.raw.columns.model_dump(exclude_none=True).values()) <= names
    changed = data_set(f"{text}\n[raw.csv]\n{key} = {CHANGES[key]}\n")
    assert getattr(changed.raw.csv, key) != getattr(RFC_4180, key)
    assert _of_ingest(changed) != _of_ingest(plain)


def _with_calendar(tmp_path, data_set, text, keys=""):
    calendar = 'closed_calendar = "../calendars/closed days.txt"'
    path = tmp_path.parent / "calendars" / "closed days.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    return data_set(SHIPPED.replace("closed_days = ", f"{keys}{calendar}\nclosed_days = "))


def test_closed_days_are_of_dates_weekdays_and_a_calendar(tmp_path, data_set):
    lines = b"\xef\xbb\xbf# holidays\r\n2017-05-01 # Labour Day\r\n\r\n  2031-01-01\r\n2017-05-01\r\n"
    raw = _with_calendar(tmp_path, data_set, lines, 'closed_weekdays = ["saturday"]\n').raw
    assert raw.closed_calendar == (dt.date(2017, 5, 1), dt.date(2031, 1, 1))
    closed = [day for day in days(dt.date(2017, 4, 28), dt.date(2017, 5, 8)) if raw.is_closed(day)]
    assert [str(day) for day in closed] == ["2017-04-29", "2017-05-01", "2017-05-06"]
    assert raw.is_closed(dt.date(2017, 12, 25))


def test_the_days_of_a_calendar_are_the_setting_and_not_its_text(tmp_path, data_set):
    plain = data_set(SHIPPED)
    one = _with_calendar(tmp_path, data_set, b"2017-05-01\n2017-05-02")
    same = _with_calendar(tmp_path, data_set, b"2017-05-02\n\n# first\n2017-05-01\n")
    other = _with_calendar(tmp_path, data_set, b"2017-05-01\n")
    digests = [Ingest().config_digest(SimpleNamespace(data=data)) for data in (plain, one, same, other)]
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3
    assert of_sections(one.chosen(Ingest.SECTIONS)).raw == one.raw


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"2017-05-01\n01.05.2017\n", "found '01.05.2017' in line 2 of .*closed days.txt"),
        (b"2017-13-01\n", "found '2017-13-01' in line 1"),
        (b"2500-01-01\n", r"raw\.closed_calendar\.0: "),
        (b"\xe9\n", "expected a file of dates in UTF-8"),
    ],
)
def test_a_calendar_that_cannot_be_read_is_refused_by_its_line(tmp_path, data_set, text, told):
    with pytest.raises(ConfigError, match=f"raw.closed_calendar.*: .*{told}" if "0:" not in told else told):
        _with_calendar(tmp_path, data_set, text)
