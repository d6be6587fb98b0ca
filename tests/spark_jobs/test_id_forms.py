import csv
import datetime as dt
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import tables
from lake.id_forms import AS_WRITTEN, IdForm
from spark_jobs.casts import literal
from spark_jobs.id_forms import in_form

DAY = dt.date(2024, 1, 1)
ALL = {"unicode": "nfc", "blanks": "collapse", "floats": "whole", "zeros": "strip"}

# A form, an id, and what becomes of it.
FORMS = [
    ({}, " e\u0301  0012.0", " e\u0301  0012.0"),
    ({"case": "upper"}, "85123a", "85123A"),
    ({"case": "lower"}, "ÄB", "äb"),
    ({"case": "upper"}, "straße", "STRASSE"),
    ({"unicode": "nfc"}, "e\u0301", "\u00e9"),
    ({"unicode": "nfc"}, "\u1100\u1161", "\uac00"),
    ({"unicode": "nfc"}, "\u212b", "\u00c5"),
    ({"unicode": "nfc"}, "\ufb01", "\ufb01"),  # of NFKC it would be two letters
    ({"unicode": "nfc"}, "\U0001d15e", "\U0001d157\U0001d165"),
    ({"case": "upper", "unicode": "nfc"}, "\u0390", "\u03aa\u0301"),
    ({"blanks": "collapse"}, "gift \t\u00a0\u2003card", "gift card"),
    ({"floats": "whole"}, "1364.0", "1364"),
    ({"floats": "whole"}, "-7.00", "-7"),
    ({"floats": "whole"}, "1364.5", "1364.5"),
    ({"floats": "whole"}, "1.0.0", "1.0.0"),
    ({"floats": "whole"}, "1e+16", "1e+16"),
    ({"zeros": "strip"}, "00120", "120"),
    ({"zeros": "strip"}, "000", "0"),
    ({"zeros": "strip"}, "0", "0"),
    ({"zeros": "strip"}, "00A1", "00A1"),
    ({"zeros": "strip"}, "007.0", "007.0"),
    (ALL, "007.0", "7"),
]


@pytest.fixture(scope="module")
def formed(spark):
    """A function: texts in a form each."""

    def formed(asked):
        each = (in_form(literal(text), form) for text, form in asked)
        return list(spark.sql("SELECT " + ", ".join(f"{sql} AS c{n}" for n, sql in enumerate(each))).first())

    return formed


@pytest.mark.spark
def test_spellings_of_one_id_become_one(formed):
    found = formed([(text, IdForm(**form)) for form, text, _ in FORMS])
    assert [(*case[:2], one) for case, one in zip(FORMS, found, strict=True)] == FORMS


def test_by_default_nothing_is_done():
    assert in_form("x", AS_WRITTEN) == "x"


# Letters that this Python knows: those of newer versions of Unicode have no form in it.
known = st.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters="\0")
ids = st.text(known | st.sampled_from("eE\u0301\u0327 0."), min_size=1, max_size=8)


@pytest.mark.spark
@settings(max_examples=3)
@given(st.lists(ids, min_size=40, max_size=40))
def test_composed_ids_are_those_of_the_standard_and_stay(formed, texts):
    composed = IdForm(unicode="nfc")
    assert formed([(text, composed) for text in texts]) == [unicodedata.normalize("NFC", t) for t in texts]
    decomposed = [unicodedata.normalize("NFD", text) for text in texts]
    form = IdForm(case="lower", **ALL)
    once = formed([(text, form) for text in texts])
    assert formed([(text, form) for text in once]) == once
    assert formed([(text, composed) for text in decomposed]) == formed([(text, composed) for text in texts])


EVENTS = [("e\u0301 1", "a1"), ("\u00c9  1", "A1"), ("e\u0301 1", "0042.0"), ("x", "42"), ("nUlL", "42")]


@pytest.mark.spark
def test_events_and_catalogue_meet_in_one_form(tiny_with, tmp_path, spark):
    """Also of an id that is computed; what is no id in its form is judged as such."""
    tiny = tiny_with(tmp_path, format="csv", id_type="string")
    toml = tmp_path / "tiny.toml"
    forms = '[rules.user_ids]\ncase = "lower"\nunicode = "nfc"\nblanks = "collapse"\n'
    forms += '[rules.item_ids]\ncase = "upper"\nfloats = "whole"\nzeros = "strip"\n'
    text = toml.read_text(encoding="utf-8").replace('item_id = "item"', "item_id = \"item || ''\"", 1)
    toml.write_text(text + forms, encoding="utf-8")
    with tiny.raw(f"events/{DAY}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "at", "type", "pieces", "paid", "basket", "store"])
        writer.writerows(
            [*event, "2024-01-01T12:00:00", "purchase", 1, 1, n, "A"] for n, event in enumerate(EVENTS)
        )
    item = {"title": "t", "department": "d", "kind": "k", "brand": "b"}
    tiny.put_items(DAY, [{"item": name} | item for name in ("a1", "42.00")])
    record = tiny.ingest(DAY)
    assert (record.counts["clean"], record.counts["bad_user_id_sentinel"]) == (4, 1)
    rows = _rows(tiny, record, "interactions")
    assert sorted((row["user_id"], row["item_id"]) for row in rows) == [
        ("x", "42"),
        ("\u00e9 1", "42"),
        ("\u00e9 1", "A1"),
        ("\u00e9 1", "A1"),
    ]
    assert sorted(row["item_id"] for row in _rows(tiny, record, "catalogue")) == ["42", "A1"]


def _rows(tiny, record, table):
    return tables.read(tiny.lake.storage, table, "string", record.tables[table].files).to_pylist()
