import json

from lake.storage import open_storage
from validation import report
from validation.gate import Check

CHECKS = [
    Check("rows", "critical", True, "5", "1 to 9"),
    Check("share<script>", "critical", False, "7%", "at most 1%"),
    Check("names", "warning", False, "2 nulls", "none"),
]


def test_the_page_is_whole_and_tells_what_failed_first(tmp_path):
    storage = open_storage(tmp_path.as_uri())
    uri = report.write(storage, "ingest", "2024-01-01", "a1", CHECKS, {"2024-01-01": {"read": 1234}})
    assert uri == storage.uri("reports/ingest/2024-01-01/a1.html")
    page = storage.read("reports/ingest/2024-01-01/a1.html").decode()
    assert "ingest of 2024-01-01: refused" in page
    assert "share&lt;script&gt;" in page
    assert "<script" not in page
    assert "http" not in page
    assert "1,234" in page
    assert page.index("share") < page.index("names") < page.index("rows")


def test_the_result_is_json(tmp_path):
    storage = open_storage(tmp_path.as_uri())
    report.write(storage, "ingest", "2024-01-01", "a1", CHECKS[:1], {})
    found = json.loads(storage.read("reports/ingest/2024-01-01/a1.json"))
    assert found["verdict"] == "passed"
    assert found["checks"] == [
        {"name": "rows", "severity": "critical", "passed": True, "found": "5", "expected": "1 to 9"}
    ]
