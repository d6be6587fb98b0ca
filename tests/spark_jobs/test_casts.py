import pyarrow as pa
import pytest

from lake.formats.dialect import CsvSection
from lake.formats.families import family
from spark_jobs.casts import expression, normalized, quoted, rule


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.int8(), "integer"),
        (pa.uint32(), "integer"),
        (pa.uint64(), "whole"),
        (pa.decimal128(38, 0), "whole"),
        (pa.decimal256(50, 2), "text"),
        (pa.float16(), "half"),
        (pa.null(), "nothing"),
        (pa.float32(), "single"),
        (pa.decimal128(10, 4), "decimal"),
        (pa.bool_(), "boolean"),
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.uuid(), "string"),
        (pa.dictionary(pa.int32(), pa.string()), "string"),
        (pa.timestamp("us"), "local"),
        (pa.timestamp("ns"), "local_ns"),
        (pa.timestamp("ms", tz="UTC"), "instant"),
        (pa.timestamp("ns", tz="Europe/Berlin"), "instant_ns"),
        (pa.date32(), "date"),
        (pa.list_(pa.int64()), "other"),
        (pa.binary(), "other"),
        (pa.binary(16), "other"),
        (pa.time64("us"), "other"),
        (pa.duration("us"), "other"),
    ],
)
def test_family(kind, expected):
    assert family(kind) == expected


@pytest.mark.parametrize(
    ("target", "found", "id_type", "castable"),
    [
        ("id", "integer", "int64", True),
        ("id", "float", "int64", True),
        ("id", "string", "int64", False),
        ("id", "text", "int64", True),
        ("id", "string", "string", True),
        ("id", "decimal", "string", False),
        ("id", "whole", "int64", True),
        ("id", "whole", "string", True),
        ("id", "nothing", "string", True),
        ("timestamp", "whole", "int64", False),
        ("decimal(18,2)", "float", "int64", True),
        ("decimal(18,2)", "string", "int64", False),
        ("decimal(18,2)", "boolean", "int64", False),
        ("timestamp", "integer", "int64", False),
        ("timestamp", "string", "int64", True),
        ("string", "other", "int64", False),
    ],
)
def test_a_rule_is_judged_by_type(target, found, id_type, castable):
    assert (rule(target, found, id_type) is not None) is castable


def test_no_expression_without_a_rule():
    with pytest.raises(KeyError, match="no rule casts other to id"):
        expression("x", "id", "other", "int64", "UTC")


def test_names_are_quoted():
    assert quoted("a `b` c.d") == "`a ``b`` c.d`"


BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"

# What a raw value becomes: (SQL of the value, our type, its family, the data set's zone, the cast value).
CASTS = [
    ("18446744073709551615BD", "id", "whole", "UTC", None),
    ("9223372036854775807BD", "id", "whole", "UTC", "9223372036854775807"),
    ("99999999999999999999999999999999999999BD", "string", "whole", "UTC", "9" * 38),
    ("1", "timestamp", "nothing", "UTC", None),
    ("2.675D", "decimal(18,2)", "float", "UTC", "2.68"),
    ("CAST(2.35 AS FLOAT)", "decimal(18,2)", "float", "UTC", "2.35"),
    ("CAST('NaN' AS DOUBLE)", "decimal(18,2)", "float", "UTC", None),
    ("CAST('-Infinity' AS DOUBLE)", "decimal(18,2)", "float", "UTC", None),
    ("1e17D", "decimal(18,2)", "float", "UTC", None),
    ("9223372036854775807L", "decimal(18,3)", "integer", "UTC", None),
    ("' 1.5 '", "decimal(18,3)", "text", "UTC", "1.500"),
    ("'.5'", "decimal(18,3)", "text", "UTC", "0.500"),
    ("'+5.'", "decimal(18,3)", "text", "UTC", "5.000"),
    *(
        (f"'{text}'", "decimal(18,2)", "text", "UTC", None)
        for text in (
            "much",
            "1e3",
            "0x1F",
            "1,234.56",
            "1.234,56",
            "1 234",
            "NaN",
            "Infinity",
            "-inf",
            "5 EUR",
            "--5",
            ".",
            "1_000",
            "99999999999999999999",
            "12d",
            "12f",
        )
    ),
    ("12D", "id", "float", "UTC", "12"),
    ("12.5D", "id", "float", "UTC", None),
    # From where on a float stands for several whole numbers: several users became one, clean.
    ("9007199254740991D", "id", "float", "UTC", "9007199254740991"),
    ("9007199254740992D", "id", "float", "UTC", None),
    ("CAST(16777215 AS FLOAT)", "id", "single", "UTC", "16777215"),
    ("CAST(123456790 AS FLOAT)", "id", "single", "UTC", None),
    ("CAST(2047 AS FLOAT)", "id", "half", "UTC", "2047"),
    ("CAST(2048 AS FLOAT)", "id", "half", "UTC", None),
    ("CAST(2.35 AS FLOAT)", "decimal(18,2)", "single", "UTC", "2.35"),
    ("CAST(12 AS FLOAT)", "string", "half", "UTC", "12"),
    ("CAST('NaN' AS DOUBLE)", "id", "float", "UTC", None),
    # Was null, and told as missing: what pandas writes of a whole number beside a missing one.
    ("'123.0'", "id", "text", "UTC", "123"),
    ("'\u00a0 123\t'", "id", "text", "UTC", "123"),
    ("'-9223372036854775808.00'", "id", "text", "UTC", "-9223372036854775808"),
    *(
        (f"'{text}'", "id", "text", "UTC", None)
        for text in (
            "123.5",
            "1.23e5",
            "9223372036854775808",
            "12 3",
            "one",
            "0x10",
            "1,000",
            "123.",
            "12L",
        )
    ),
    ("31198570044D", "string", "float", "UTC", "31198570044"),
    ("' '", "string", "text", "UTC", None),
    ("''", "string", "string", "UTC", None),
    ("' tea '", "string", "string", "UTC", " tea "),
    ("1704067200123456789L", "timestamp", "local_ns", "UTC", "2024-01-01 00:00:00.123456"),
    ("DATE'2024-01-01'", "timestamp", "date", BERLIN, "2023-12-31 23:00:00"),
    # A zone that the text names holds, whatever the data set's; it was shifted a second time in these forms.
    *(
        (f"'2017-09-30{text}'", "timestamp", "text", NEW_YORK, f"2017-09-30 {utc}")
        for text, utc in (
            ("T10:00:00+02", "08:00:00"),
            ("T10:00:00 +02", "08:00:00"),
            (" 10:00:00 UTC", "10:00:00"),
            (" 10:00:00UTC", "10:00:00"),
            (" 10:00:00 utc", "10:00:00"),
            (" 10:00:00 GMT", "10:00:00"),
            ("T10:00:00z", "10:00:00"),
            ("t10:00:00Z", "10:00:00"),
            ("T10:00Z", "10:00:00"),
            ("T10:00+02:00", "08:00:00"),
            (" 10:00:00 -0330", "13:30:00"),
            ("T10:00:00.5+02:00", "08:00:00.5"),
            ("T10:00:00.123456789Z", "10:00:00.123456"),
            ("T10:00:00-00:00", "10:00:00"),
        )
    ),
    # One without a zone is of the data set's.
    *(
        (f"'2017-09-30{text}'", "timestamp", "string", NEW_YORK, f"2017-09-30 {utc}")
        for text, utc in (
            ("", "04:00:00"),
            (" 10:00", "14:00:00"),
            ("T10:00:00", "14:00:00"),
            ("T10:00:00.1", "14:00:00.1"),
            (" 10:00:00.123456", "14:00:00.123456"),
        )
    ),
    # Forms that Spark's cast takes, and shifts by, but that are not among ours; and what is no time at all.
    *(
        (f"'{text}'", "timestamp", "text", NEW_YORK, None)
        for text in (
            "2017-09-30T10:00:00+2",
            "2017-09-30 10:00:00 GMT+2",
            "2017-09-30 10:00:00 UTC+02:00",
            "2017-09-30 10:00:00 Europe/Paris",
            "2017-09-30T10:00:00+02:00[Europe/Paris]",
            "2017-09-30 10:00:00 EST",
            "2017-09-30 10:00:00 CET",
            "2017-09-30T10:00:00+19:00",
            "2017-09-30Z",
            "2017",
            "2017-09",
            "2017-9-30",
            "T10:00:00",
            "10:00:00",
            "today",
            "1506765600",
            "1506765600000",
            "30/09/2017",
            "09/30/2017 10:00",
            "17-09-30 10:00:00",
            "-2017-09-30 10:00:00",
            "+2017-09-30",
            "12017-09-30",
            "2017-02-30",
            "2017-09-31 10:00:00",
            "2017-09-30 24:00:00",
            "2017-09-30 25:00:00",
            "2017-09-30 23:59:60",
            "2017-09-30 10:00:00.1234567890",
            "2017-09-30 10:00:00,5",
            "2017-09-30 10",
            "2017-09-30 10:00:00 AM",
            "2017-09-30  10:00:00",
            "noon",
            "Sat, 30 Sep 2017 10:00:00 GMT",
            "20170930T100000Z",
            "2017-W39-6",
            "2017-273",
        )
    ),
    # Of the hour that comes twice the first is meant; one that clocks skip was moved on by an hour.
    ("'2024-10-27 02:30:00'", "timestamp", "text", BERLIN, "2024-10-27 00:30:00"),
    ("'2024-03-31 02:30:00'", "timestamp", "text", BERLIN, None),
    ("TIMESTAMP_NTZ'2024-03-31 02:30:00'", "timestamp", "local", BERLIN, None),
    ("'2024-03-31 03:00:00'", "timestamp", "text", BERLIN, "2024-03-31 01:00:00"),
    # As far away as a type goes, where the shift from zone to zone overflows.
    ("timestamp_micros(9223372036854775807L)", "timestamp", "local", NEW_YORK, None),
    ("timestamp_micros(-9223372036854775808L)", "timestamp", "local", BERLIN, None),
    ("date_from_unix_date(2147483647)", "timestamp", "date", NEW_YORK, None),
    ("'0001-01-01 00:00:00'", "timestamp", "text", BERLIN, None),
    # A day that begins at 01:00 begins there.
    ("'2017-10-15'", "timestamp", "text", "America/Sao_Paulo", "2017-10-15 03:00:00"),
]


@pytest.mark.spark
def test_a_value_is_read_in_the_stated_forms_and_in_no_other(spark):
    texts = [expression(*cast[:3], "int64", cast[3]) for cast in CASTS]
    asked = ", ".join(f"CAST({text} AS STRING) AS c{i}" for i, text in enumerate(texts))
    found = spark.sql(f"SELECT {asked}").first()
    assert [(*cast[:4], found[i]) for i, cast in enumerate(CASTS)] == CASTS


WORDS = [
    ("'  '", "id", "text", None),
    ("'\ufeffa b\u00a0'", "id", "string", "a b"),
    ("12D", "id", "float", "12"),
    ("-1D", "id", "float", "-1"),
    ("CAST('NaN' AS DOUBLE)", "id", "float", "NaN"),
    ("-0.004D", "decimal(18,2)", "float", "-0.004000000"),
    ("0.1D + 0.2D", "decimal(18,2)", "float", "0.300000000"),
    ("CAST(1.239 AS DECIMAL(10,4))", "decimal(18,2)", "decimal", "1.2390"),
    ("CAST(NULL AS BIGINT)", "id", "integer", None),
]


@pytest.mark.spark
def test_normalized_text_is_a_value_in_one_spelling(spark):
    asked = ", ".join(f"{normalized(*case[:3])} AS c{i}" for i, case in enumerate(WORDS))
    found = spark.sql(f"SELECT {asked}").first()
    assert [(*case[:3], found[i]) for i, case in enumerate(WORDS)] == WORDS


# What the text of a number becomes by its marks of decimals and thousands: its words, and the number.
MARKED = [
    (",", "", "5,99", "5.99", "5.99"),
    (",", "", " -,5 ", "-.5", "-0.50"),
    (",", "", "1234", "1234", "1234.00"),
    (",", "", "5.99", "5,99", None),
    (",", "", "1.234,56", "1,234.56", None),
    (",", "", " ", None, None),
    (",", ".", "1.234,56", "1234.56", "1234.56"),
    (",", ".", "+1.234.567", "+1234567", "1234567.00"),
    (",", ".", "1234567,1", "1234567.1", "1234567.10"),
    (",", ".", "12.34,56", "12,34.56", None),
    (",", ".", "1.2345", "1,2345", None),
    (",", ".", "1234.567", "1234,567", None),
    (",", ".", "1,234.567", "1.234,567", None),
    (",", ".", "1..234", "1,,234", None),
    (",", ".", ".234", ",234", None),
    (",", ".", "0.123", "0,123", None),  # 123 is not written so, and 0.123 is of other marks
    (",", ".", "-1.234,", "-1234.", "-1234.00"),
    (".", ",", "1,234.567", "1234.567", "1234.57"),
    (".", ",", "1,23", "1,23", None),
    (".", ",", "1,234,56", "1,234,56", None),
    (".", " ", "1 234", "1234", "1234.00"),
    (".", " ", "1 23", "1 23", None),
    (",", "\u202f", "1\u202f234,5", "1234.5", "1234.50"),
    (".", "'", "1'234.5", "1234.5", "1234.50"),
    (".", "^", "1^234", "1234", "1234.00"),
    ("^", "]", "1]234^5", "1234.5", "1234.50"),
    ("\\", "$", "1$234\\5", "1234.5", "1234.50"),
    ("\U0001d16d", "|", "1|234\U0001d16d5", "1234.5", "1234.50"),
]


@pytest.mark.spark
def test_a_number_is_read_by_the_marks_of_its_file_and_no_others(spark):
    texts = []
    for decimal, thousands, text, *_ in MARKED:
        raw = f"decode(unhex('{text.encode().hex()}'), 'utf-8')"
        words = normalized(raw, "decimal(18,2)", "text", CsvSection(decimal=decimal, thousands=thousands))
        texts += [words, expression(raw, "decimal(18,2)", "text", "int64", "UTC", words)]
    found = spark.sql("SELECT " + ", ".join(f"CAST({sql} AS STRING) AS c{n}" for n, sql in enumerate(texts)))
    made = list(found.first())
    assert [(*case[:3], *made[2 * n : 2 * n + 2]) for n, case in enumerate(MARKED)] == MARKED


@pytest.mark.parametrize("target", ["id", "string", "timestamp"])
def test_marks_of_numbers_change_no_other_column(target):
    marks = CsvSection(decimal=",", thousands=".")
    assert normalized("x", target, "text", marks) == normalized("x", target, "text")
