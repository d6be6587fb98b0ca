import pyarrow as pa
import pytest

from spark_jobs.casts import expression, family, quoted, rule


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.int8(), "integer"),
        (pa.uint32(), "integer"),
        (pa.uint64(), "other"),
        (pa.float32(), "float"),
        (pa.decimal128(10, 4), "decimal"),
        (pa.bool_(), "boolean"),
        (pa.large_string(), "string"),
        (pa.dictionary(pa.int32(), pa.string()), "string"),
        (pa.timestamp("us"), "local"),
        (pa.timestamp("ns"), "local_ns"),
        (pa.timestamp("ms", tz="UTC"), "instant"),
        (pa.timestamp("ns", tz="Europe/Berlin"), "instant_ns"),
        (pa.date32(), "date"),
        (pa.list_(pa.int64()), "other"),
        (pa.binary(), "other"),
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


@pytest.mark.spark
@pytest.mark.parametrize(
    ("value", "target", "found", "zone", "expected"),
    [
        ("2.675D", "decimal(18,2)", "float", "UTC", "2.68"),
        ("CAST('NaN' AS DOUBLE)", "decimal(18,2)", "float", "UTC", None),
        ("CAST('Infinity' AS DOUBLE)", "decimal(18,2)", "float", "UTC", None),
        ("1e17D", "decimal(18,2)", "float", "UTC", None),
        ("' 1.5 '", "decimal(18,3)", "text", "UTC", "1.500"),
        ("'much'", "decimal(18,3)", "text", "UTC", None),
        ("12D", "id", "float", "UTC", "12"),
        ("12.5D", "id", "float", "UTC", None),
        ("CAST('NaN' AS DOUBLE)", "id", "float", "UTC", None),
        ("31198570044D", "string", "float", "UTC", "31198570044"),
        ("'2024-01-01T00:30:00'", "timestamp", "string", "Europe/Berlin", "2023-12-31 23:30:00"),
        ("'2024-01-01T00:30:00+02:00'", "timestamp", "string", "Europe/Berlin", "2023-12-31 22:30:00"),
        ("'2024-01-01'", "timestamp", "string", "UTC", "2024-01-01 00:00:00"),
        ("'noon'", "timestamp", "text", "UTC", None),
        ("1704067200123456789L", "timestamp", "local_ns", "UTC", "2024-01-01 00:00:00.123456"),
        ("DATE'2024-01-01'", "timestamp", "date", "UTC", "2024-01-01 00:00:00"),
    ],
)
def test_values_that_do_not_fit_become_null(spark, value, target, found, zone, expected):
    text = expression(value, target, found, "int64", zone)
    assert spark.sql(f"SELECT CAST({text} AS STRING) AS x").first()["x"] == expected
