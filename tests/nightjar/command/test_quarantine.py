import datetime as dt
import re

import pytest

from lake import layout
from lake.errors import GateFailed, PermanentError
from lake.storage import open_storage
from nightjar.command import quarantine
from nightjar.console import console
from nightjar.stages import ingest

DAY, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 2)


def _shown(tiny, day=DAY, attempt="", limit=3):
    with console.capture() as shown:
        quarantine.show(day, attempt, limit, tiny.lake)
    return re.sub(r"\s+", " ", shown.get())


def test_a_day_of_which_nothing_is_there_says_how_to_take_it_in(tiny):
    with pytest.raises(
        PermanentError, match="no ingest record.*`nightjar run ingest --partition 2024-01-01`"
    ):
        quarantine.show(DAY, "", 3, tiny.lake)


@pytest.mark.parametrize(
    ("attempt", "told"), [("../../etc", "16 hex digits"), ("0123456789abcdef", "no result of an extract")]
)
def test_an_attempt_that_is_none_is_refused(tiny, attempt, told):
    with pytest.raises(PermanentError, match=told):
        quarantine.show(DAY, attempt, 3, tiny.lake)


@pytest.mark.parametrize("content", [b'{"release_id": "x", "counts": {"users": 3}}', b'{"tables": {}}', b""])
def test_an_attempt_of_another_stage_is_refused(tiny, content):
    """A raw ValidationError of pydantic."""
    storage = open_storage(tiny.settings.lake)
    storage.put_new(layout.result("0123456789abcdef"), content)
    with pytest.raises(
        PermanentError, match="attempt 0123456789abcdef has no result of an extract in .*stage"
    ):
        quarantine.show(DAY, "0123456789abcdef", 3, tiny.lake)


@pytest.mark.timeout(60)
def test_a_folder_in_the_way_of_a_note_is_named(tiny):
    """The note was tried for ever."""
    storage = open_storage(tiny.settings.lake)
    storage.local(f"{layout.refused(DAY)}/000000000001.json").mkdir(parents=True)
    with pytest.raises(PermanentError, match="expected a file or nothing, found a folder"):
        ingest.note_refused(storage, DAY, "0123456789abcdef")


@pytest.mark.parametrize(
    "content", [b"{}", b'{"attempt": null}', b'{"attempt": 1}', b'{"attempt": "../../etc"}', b"[]", b""]
)
def test_a_note_of_a_refused_attempt_that_says_none_is_named(tiny, content):
    """A KeyError's trace, or an error about an option that was not given."""
    open_storage(tiny.settings.lake).put_new(f"{layout.refused(DAY)}/000000000001.json", content)
    with pytest.raises(PermanentError, match="refused/2024-01-01/000000000001.json: .*restore it"):
        quarantine.show(DAY, "", 3, tiny.lake)


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_the_rows_of_a_refused_day_and_of_a_committed_one_are_shown(tiny, tiny_row):
    """A refused day left no quarantine to look at."""
    item = {"item": 10, "title": "tea", "department": "drinks", "kind": "green", "brand": "b"}
    tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=None, store="[b]x"), tiny_row(DAY, user=None)])
    tiny.put_items(DAY, [item, item | {"item": None}])
    with pytest.raises(GateFailed) as refused:
        tiny.ingest(DAY)
    assert "catalogue.2024-01-01.bad_share: expected at most 1.00% bad rows, found 50.00%" in str(
        refused.value
    )
    assert "2 user_id_missing (row 2 of events/2024-01-01.parquet: null)" in str(refused.value)
    (attempt,) = re.findall("quarantine 2024-01-01 --attempt ([0-9a-f]{16})", str(refused.value))
    shown = _shown(tiny)
    assert attempt in shown
    assert shown == _shown(tiny, attempt=attempt)
    assert all(
        text in shown for text in ("user_id_missing", '"store":"[b]x"', "item_id_missing", "catalogue")
    )
    with pytest.raises(PermanentError, match="is of 2024-01-01, not of 2024-01-02"):
        _shown(tiny, NEXT, attempt)

    found = quarantine.look(DAY, attempt, 1, tiny.lake)
    assert found.counts == {
        ("quarantine", "bad", "user_id_missing"): 2,
        ("catalogue_quarantine", "bad", "item_id_missing"): 1,
    }
    assert [place[1] for place in found.examples["quarantine", "bad", "user_id_missing"]] == [2]

    tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY)])
    tiny.put_items(DAY, [item])
    tiny.ingest(DAY)
    shown = _shown(tiny)
    assert "record 1" in shown
    assert "exact_duplicate" in shown
    assert "user_id_missing" not in shown
