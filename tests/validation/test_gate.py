import logging

import pytest

from lake.errors import GateFailed
from validation.gate import Check, failed, require

GOOD = Check("rows", "critical", True, "5", "1 to 9")
BAD = Check("share", "critical", False, "7%", "at most 1%")
WORSE = Check("ids", "critical", False, "3 nulls", "none")
ODD = Check("names", "warning", False, "2 nulls", "none")


def test_warnings_do_not_stop_but_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        require([GOOD, ODD], "ingest of today")
    assert "ingest of today: names: expected none, found 2 nulls" in caplog.text


def test_each_failed_critical_check_is_named():
    with pytest.raises(GateFailed) as refused:
        require([GOOD, BAD, ODD, WORSE], "ingest of today", "file:///report.html")
    assert str(refused.value) == (
        "ingest of today was refused: share: expected at most 1%, found 7%; "
        "ids: expected none, found 3 nulls. Nothing was committed; the report is file:///report.html"
    )
    assert failed([GOOD, BAD, ODD, WORSE]) == [BAD, WORSE]
