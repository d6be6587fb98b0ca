"""Stamps in the forms that a data set names: each is read as Python reads it, and no other is."""

import datetime as dt

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lake.stamps import MONTHS, require_apart, require_form
from spark_jobs.casts import expression, normalized, rule

UTC, BERLIN = "UTC", "Europe/Berlin"


def read(spark, cases):
    """The stamp of each case as text: of its forms, raw value, family and zone."""
    of_words, of_stamps = [], []
    for number, (told, value, family, zone) in enumerate(cases):
        forms = require_apart(tuple(map(require_form, told)))
        raw = _literal(value) if family in ("text", "string") else value
        of_words.append(f"{normalized(raw, 'timestamp', family, stamps=forms)} AS w{number}")
        stamp = expression(raw, "timestamp", family, "int64", zone, f"w{number}", forms)
        of_stamps.append(f"CAST({stamp} AS STRING)")
    words = f"SELECT {', '.join(of_words)}"
    return list(spark.sql(f"SELECT array({', '.join(of_stamps)}) FROM ({words})").first()[0])


def _literal(text):
    return f"decode(unhex('{text.encode().hex()}'), 'utf-8')"


# The forms, the raw value, its family, the zone, and the stamp.
CASES = [
    (["%m/%d/%Y %H:%M"], "12/1/2010 8:26", "text", UTC, "2010-12-01 08:26:00"),
    (["%m/%d/%Y %H:%M"], "12/01/2010 08:26", "text", UTC, "2010-12-01 08:26:00"),
    (["%d/%m/%Y %H:%M"], "12/1/2010 8:26", "text", UTC, "2010-01-12 08:26:00"),
    (["%m/%d/%Y %H:%M"], "12/1/2010   8:26", "text", UTC, "2010-12-01 08:26:00"),
    (["%m/%d/%Y %H:%M"], "12/1/2010 8:26", "string", BERLIN, "2010-12-01 07:26:00"),
    (["%d.%m.%Y %H:%M", "%d.%m.%Y"], "1.12.2010", "text", BERLIN, "2010-11-30 23:00:00"),
    (["%d.%m.%Y %H:%M", "%d.%m.%Y"], "1.12.2010 9:00", "text", BERLIN, "2010-12-01 08:00:00"),
    (["%Y%m%d%H%M%S"], "20101201082601", "text", UTC, "2010-12-01 08:26:01"),
    (["%Y%m%d%H%M%S"], "20101201082601", "integer", UTC, "2010-12-01 08:26:01"),
    (["%Y%m%d%H%M%S%f"], "20101201082601123", "text", UTC, "2010-12-01 08:26:01.123"),
    (["%Y%m%d"], "20101201D", "float", UTC, "2010-12-01 00:00:00"),
    (["%Y%m%d"], "20101201BD", "whole", UTC, "2010-12-01 00:00:00"),
    (["%d/%b/%Y:%H:%M:%S %z"], "10/Oct/2000:13:55:36 -0700", "text", BERLIN, "2000-10-10 20:55:36"),
    (["%A, %d %B %Y %I:%M %p"], "Friday, 1 MAY 2015 12:05 am", "text", UTC, "2015-05-01 00:05:00"),
    (["%A, %d %B %Y %I:%M %p"], "friday, 1 May 2015 12:05 PM", "text", UTC, "2015-05-01 12:05:00"),
    (["%d.%m.%y"], "1.2.69", "text", UTC, "1969-02-01 00:00:00"),
    (["%d.%m.%y"], "1.2.68", "text", UTC, "2068-02-01 00:00:00"),
    (["%Y-%m-%d %H:%M:%S.%f%z"], "2010-12-01 08:26:00.123456789Z", "text", UTC, "2010-12-01 08:26:00.123456"),
    (["%Y-%m-%dT%H"], "2010-12-01T08", "text", UTC, "2010-12-01 08:00:00"),
    (["%%%d|%m\\%Y'%H{{%M}}"], "%01|12\\2010'08{{26}}", "text", UTC, "2010-12-01 08:26:00"),
    (["%d.%m.%Y um %H Uhr"], "01.12.2010 UM 8 uhr", "text", UTC, "2010-12-01 08:00:00"),
    (["iso", "%d.%m.%Y"], "2010-12-01T08:26:00+02:00", "text", UTC, "2010-12-01 06:26:00"),
    (["iso", "epoch_s"], "1506765600", "text", UTC, "2017-09-30 10:00:00"),
    (["iso", "epoch_s"], "2017-09-30", "text", UTC, "2017-09-30 00:00:00"),
    # Of the hour that comes twice the first; the one that is skipped is none.
    (["%d.%m.%Y %H:%M"], "27.10.2024 02:30", "text", BERLIN, "2024-10-27 00:30:00"),
    (["%d.%m.%Y %H:%M"], "31.3.2024 02:30", "text", BERLIN, None),
    *(
        (["%m/%d/%Y %H:%M"], text, "text", UTC, None)
        for text in (
            *("13/1/2010 8:26", "2/30/2010 8:26", "0/1/2010 8:26", "1/0/2010 8:26", "012/1/2010 8:26"),
            *("12/1/10 8:26", "12/1/2010 24:00", "12/1/2010 8:60", "12/1/2010", "12/1/2010 8:26:00"),
            *("12-1-2010 8:26", "12/1/2010T8:26", "x12/1/2010 8:26", "2010-12-01 08:26", "2010-12-01"),
            *("1506765600", "12/1/2010 8:26 PM", "\u0661/1/2010 8:26", "noon", "12/1/2010 8:26Z"),
        )
    ),
    (["%Y%m%d%H%M%S"], "2010121082601", "text", UTC, None),
    (["%d %b %Y"], "1 Sept 2010", "text", UTC, None),
    (["%d %b %Y"], "1 Okt 2010", "text", UTC, None),
    (["%I:%M %p %Y-%m-%d"], "13:00 PM 2010-12-01", "text", UTC, None),
    (["%I:%M %p %Y-%m-%d"], "0:30 AM 2010-12-01", "text", UTC, None),
    (["%H:%M:%S %Y-%m-%d"], "23:59:60 2010-12-01", "text", UTC, None),
    (["epoch_s"], "1506765600", "integer", BERLIN, "2017-09-30 10:00:00"),
    (["epoch_ms"], "1506765600123", "integer", UTC, "2017-09-30 10:00:00.123"),
    (["epoch_us"], "1506765600123456", "whole", UTC, "2017-09-30 10:00:00.123456"),
    (["epoch_ns"], "1506765600123456789", "integer", UTC, "2017-09-30 10:00:00.123456"),
    (["epoch_ns"], "9223372036854775807", "text", UTC, "2262-04-11 23:47:16.854775"),
    (["epoch_s"], "-1", "integer", UTC, "1969-12-31 23:59:59"),
    (["epoch_ns"], "-1", "integer", UTC, "1969-12-31 23:59:59.999999"),
    (["epoch_s"], "+1506765600.1234569", "text", UTC, "2017-09-30 10:00:00.123456"),
    (["epoch_s"], " 1506765600.0 ", "text", UTC, "2017-09-30 10:00:00"),
    (["epoch_s"], "1506765600.123456D", "float", UTC, "2017-09-30 10:00:00.123456"),
    (["epoch_ms"], "1506765600123D", "float", UTC, "2017-09-30 10:00:00.123"),
    (["epoch_s"], "1506765600.9999999999999BD", "decimal", UTC, "2017-09-30 10:00:00.999999"),
    (["epoch_us"], "9007199254740992D", "float", UTC, None),  # stands for several
    (["epoch_s"], "CAST('NaN' AS DOUBLE)", "float", UTC, None),
    (["epoch_s"], "9223372036854775807", "integer", UTC, None),
    (["epoch_ms"], "9223372036854775807", "integer", UTC, None),
    (["epoch_s"], "99999999999999999999999999", "text", UTC, None),
    *((["epoch_s"], text, "text", UTC, None) for text in ("2017-09-30", "1.5e9", "1,5", ".5", "0x1F", "now")),
]


@pytest.mark.spark
def test_a_stamp_is_read_by_its_form_and_by_no_other(spark):
    found = read(spark, [case[:4] for case in CASES])
    assert [(*case[:4], stamp) for case, stamp in zip(CASES, found, strict=True)] == CASES


@pytest.mark.spark
def test_what_is_there_and_fits_no_form_is_not_missing(spark):
    forms = ("%d.%m.%Y", "epoch_s")
    words = [
        normalized(f"'{text}'", "timestamp", "text", stamps=forms)
        for text in ("1.12.2010", "1506765600", "2010-12-01", "noon", "  ")
    ]
    found = spark.sql("SELECT " + ", ".join(f"{text} AS c{n}" for n, text in enumerate(words))).first()
    assert list(found) == ["2010-12-01", "1506765600", "?2010-12-01", "noon", None]


SEPARATED = ["%d.%m.%Y", "%m/%d/%y", "%B %d, %Y", "%a %d-%b-%Y", "%Y%m%d"]
TIMES = ["", " %H:%M", "T%H%M%S", " %I:%M:%S %p", ", %H:%M:%S.%f", " %H:%M:%S%z"]


@pytest.mark.spark
@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(SEPARATED),
            st.sampled_from(TIMES),
            st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2060, 1, 1)),
            st.integers(-14 * 60, 14 * 60),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_patterns_mean_what_they_mean_in_python(spark, cases):
    asked, expected = [], []
    for date, time, moment, minutes in cases:
        form, zone = date + time, dt.timezone(dt.timedelta(minutes=minutes))
        text = moment.replace(tzinfo=zone).strftime(form)
        stamp = dt.datetime.strptime(text, form)
        asked.append(([form], text, "text", UTC))
        expected.append((stamp.astimezone(dt.UTC) if stamp.tzinfo else stamp).replace(tzinfo=None))
    assert [dt.datetime.fromisoformat(text) for text in read(spark, asked)] == expected


@pytest.mark.parametrize(
    ("family", "forms", "readable"),
    [
        ("integer", (), False),
        ("integer", ("iso",), False),
        ("integer", ("iso", "epoch_s"), True),
        ("integer", ("%Y%m%d",), True),
        ("float", ("epoch_s",), True),
        ("single", ("epoch_s",), False),  # the floats of this year are two minutes apart
        ("half", ("epoch_s",), False),
        ("boolean", ("epoch_s",), False),
        ("other", ("epoch_s",), False),
    ],
)
def test_which_types_a_form_can_be_of(family, forms, readable):
    assert (rule("timestamp", family, "int64", forms) is not None) is readable


@pytest.mark.parametrize("family", ["instant", "local", "instant_ns", "local_ns", "date"])
def test_stamps_of_a_type_need_no_form(family):
    forms = ("epoch_s", "%d.%m.%Y")
    assert rule("timestamp", family, "int64", forms) == rule("timestamp", family, "int64")
    assert normalized("x", "timestamp", family, stamps=forms) == normalized("x", "timestamp", family)


@pytest.mark.parametrize("target", ["id", "string", "decimal(18,2)"])
def test_forms_of_stamps_change_no_other_column(target):
    forms = ("epoch_s", "%Y%m%d")
    assert normalized("x", target, "text", stamps=forms) == normalized("x", target, "text")
    assert rule(target, "text", "int64", forms) == rule(target, "text", "int64")


def test_the_months_are_those_of_python():
    assert [dt.date(2000, month, 1).strftime("%B") for month in range(1, 13)] == list(MONTHS)
