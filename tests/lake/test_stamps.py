import re

import pytest

from lake import stamps


@pytest.mark.parametrize(
    "form",
    [
        *("iso", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns"),
        *("%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M", "%Y%m%d%H%M%S", "%Y%m%d", "%d.%m.%y", "%Y-%m-%dT%H"),
        *("%a, %d %b %Y %I:%M:%S %p", "%A %B %d %Y", "%d/%b/%Y:%H:%M:%S.%f %z", "%%%Y'\\(%m)%d{1}"),
    ],
)
def test_a_form(form):
    assert stamps.require_form(form) == form


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("epoch", "expected iso, epoch_s, .*epoch_ns or a pattern such as '%d.%m.%Y %H:%M' (did you mean "),
        ("milliseconds", "expected iso, epoch_s, "),
        ("dd.MM.yyyy", "expected iso, epoch_s, "),
        ("%Y-%m-%d\t%H", "expected iso, epoch_s, "),
        ("%Y-%m-%d %Q", "expected %Y, %y, .*%z and %%, found %Q"),
        ("%Y-%m-%d %Z", "expected %Y, .*found %Z"),
        ("%Y-%m-%d%", "expected %Y, .*found %"),
        ("%Y-%j", "expected %Y, .*found %j"),
        ("%d.%m.%Y %y", "expected each part once, %Y and %y are both the year"),
        ("%H:%M", "expected year, month and day, found no year and no month and no day"),
        ("%Y-%m", "expected year, month and day, found no day"),
        ("%Y-%m-%d %M", "expected no minute without the hour"),
        ("%Y-%m-%d %H %S", "expected no second without the minute"),
        ("%Y-%m-%d %H:%M.%f", "expected no fraction without the second"),
        ("%Y-%m-%d %z", "expected no offset without the hour"),
        ("%Y-%m-%d %p", "expected no half of the day without the hour"),
        ("%Y-%m-%d %I:%M", "expected %I with %p, or %H alone"),
        ("%Y-%m-%d %H:%M %p", "expected %I with %p, or %H alone"),
    ],
)
def test_what_is_no_form_is_told(form, told):
    with pytest.raises(ValueError, match=re.escape(told).replace(r"\.\*", ".*")):
        stamps.require_form(form)


@pytest.mark.parametrize(
    "forms",
    [
        (),
        ("iso", "epoch_ms", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%m/%d/%Y"),
        ("%d/%m/%Y", "%m/%d/%Y %H:%M"),
        ("iso", "%Y-%m-%d", "%Y%m%d"),
        ("%d %b %Y", "%d %B %Y"),
        ("epoch_s", "%d.%m.%Y"),
        ("epoch_s", "%Y%m%dT%H%M"),
    ],
)
def test_forms_that_no_stamp_confuses(forms):
    assert stamps.require_apart(forms) == forms


@pytest.mark.parametrize(
    ("forms", "told"),
    [
        (("%d/%m/%Y", "%m/%d/%Y"), "'12/10/2011' fits '%d/%m/%Y' and '%m/%d/%Y'"),
        (("%d.%m.%y", "%y.%m.%d"), "'12.10.11' fits"),
        (("%Y%m%d", "%d%m%Y"), "'20111012' fits"),
        (("%H:%M %d.%m.%Y", "%M:%H %d.%m.%Y"), "'11:12 12.10.2011' fits"),
        (("iso", "%Y-%d-%m"), "'2011-10-12' fits 'iso' and '%Y-%d-%m'"),
        (("%Y-%d-%m %H:%M:%S", "iso"), "fits"),
        (("epoch_s", "epoch_ms"), "expected one unit of numbers, found epoch_s and epoch_ms"),
        (("epoch_s", "%Y%m%d%H%M%S"), "'20111012111210' fits '%Y%m%d%H%M%S' and 'epoch_s'"),
        (("%d.%m%Y", "epoch_s"), "'12.102011' fits"),
    ],
)
def test_forms_that_read_one_stamp_in_two_ways(forms, told):
    """The earlier one would have been taken, and some days of a month by the other."""
    with pytest.raises(ValueError, match=re.escape(told)):
        stamps.require_apart(forms)


@pytest.mark.parametrize(
    ("form", "text", "fits"),
    [
        ("%m/%d/%Y %H:%M", "12/1/2010 8:26", True),
        ("%m/%d/%Y %H:%M", "12/01/2010  08:26", True),
        ("%m/%d/%Y %H:%M", "12/1/2010T8:26", False),
        ("%m/%d/%Y", "12/1/10", False),
        ("%Y%m%d", "2010121", False),  # digits that touch are all there
        ("1%d.%m.%Y", "11.12.2010", False),
        ("1%d.%m.%Y", "101.12.2010", True),
        ("%d %B %Y", "1 SEPTEMBER 2010", True),
        ("%d.%m.%Y", "\u0661.12.2010", False),
    ],
)
def test_what_a_pattern_fits(form, text, fits):
    assert stamps.pattern(form).fits(text) is fits
