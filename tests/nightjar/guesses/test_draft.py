"""What `nightjar new-dataset` writes of samples: it can be read, and ingest takes the same samples by it."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lake.errors import PermanentError
from lake.settings import Settings
from nightjar.command import check_config, new_dataset
from nightjar.command.cli import app

_spec = importlib.util.spec_from_file_location("layouts", Path(__file__).with_name("layouts.py"))
layouts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(layouts)

PURCHASE = {"default": "purchase", "weights": {"purchase": 1.0}, "labels": ["purchase"]}
KINDS = {
    "default": "transaction",
    "weights": {"view": 0.1, "addtocart": 0.3, "transaction": 1.0},
    "labels": ["transaction"],
}
# By layout: what the TOML says, in part.
GUESSED = {
    "movielens_100k": {
        "id_type": "int64",
        "repeats": False,
        "raw": {
            "files": "events/{partition}.data",
            "format": "csv",
            "stamps": ["epoch_s"],
            "columns": {"user_id": "column_1", "item_id": "column_2", "event_ts": "column_4"},
            "csv": {"delimiter": "\t", "columns": [f"column_{n}" for n in range(1, 5)]},
        },
    },
    "movielens_1m": {
        "raw": {
            "columns": {"user_id": "column_1", "item_id": "column_2", "event_ts": "column_4"},
            "csv": {"delimiter": "::", "quote": "", "columns": [f"column_{n}" for n in range(1, 5)]},
        }
    },
    "movielens_csv": {
        "id_type": "int64",
        "raw": {
            "stamps": ["epoch_s"],
            "columns": {"user_id": "userId", "item_id": "movieId", "event_ts": "timestamp"},
        },
        "events": {"default": "rating", "weights": {"rating": 1.0}, "labels": ["rating"]},
    },
    "invoices": {
        "id_type": "string",
        "repeats": True,
        "raw": {
            "stamps": ["%m/%d/%Y %H:%M"],
            "columns": {
                "user_id": "Customer ID",
                "item_id": "StockCode",
                "event_ts": "InvoiceDate",
                "quantity": "Quantity",
                "amount": "Quantity * Price",
                "context_id": "Invoice",
                "segment": "Country",
            },
        },
        "events": PURCHASE,
        "rules": {"max_bad_share": 0.16, "user_ids": {"floats": "whole"}},
    },
    "latin_1": {
        "raw": {
            "files": "orders/{partition}.csv",
            "stamps": ["%d.%m.%Y %H:%M:%S"],
            "csv": {"delimiter": ";", "encoding": "cp1252", "decimal": ",", "thousands": "."},
        }
    },
    "clickstream": {
        "raw": {
            "files": "events/dt={partition}/hour={hour}/*.json.gz",
            "format": "jsonl",
            "columns": {
                "user_id": "user.id",
                "item_id": "product.sku",
                "event_ts": "timestamp",
                "event_type": "event",
                "amount": "product.price",
                "segment": "user.country",
            },
        },
        "events": KINDS,
    },
    "baskets": {
        "raw": {
            "files": "baskets/{year}/{month}/{day}.json",
            "format": "json",
            "nested": {"explode": "order.lines"},
            "columns": {
                "user_id": "order.customerId",
                "item_id": "order.lines.sku",
                "event_ts": "order.at",
                "quantity": "order.lines.qty",
                "context_id": "order.id",
            },
        }
    },
    "spark_folder": {
        "id_type": "int64",
        "raw": {
            "files": "events/dt={partition}/*.snappy.parquet",
            "ready": "events/dt={partition}/_SUCCESS",
            "format": "parquet",
            "columns": {
                "user_id": "visitorid",
                "item_id": "itemid",
                "event_ts": "event_time",
                "event_type": "event",
                "amount": "revenue",
            },
        },
        "events": KINDS,
    },
    "avro": {"raw": {"files": "topic/{year}{month}{day}/*.avro", "format": "avro"}, "events": KINDS},
    "orders_tsv": {
        "id_type": "string",
        "raw": {
            "files": "erp/{partition}/orders-{partition}.tsv",
            "csv": {"delimiter": "\t", "nulls": ["NULL"]},
        },
        "events": PURCHASE,
    },
}
OF_ANY_DAY = {"movielens_100k", "movielens_1m", "movielens_csv", "invoices"}


def _part(values, like):
    """The keys of a TOML that an expected one has; its columns in any order."""
    return {
        key: _part(values.get(key), value)
        if isinstance(value, dict) and key != "columns"
        else values.get(key)
        for key, value in like.items()
    }


@pytest.mark.parametrize("layout", GUESSED)
def test_the_toml_says_how_the_files_are(layout, tmp_path):
    sample = getattr(layouts, layout)(tmp_path)
    made = new_dataset.text([str(sample)], "shop")
    values = tomllib.loads(made)
    assert _part(values, GUESSED[layout]) == GUESSED[layout]
    assert values["first_day"] == layouts.DAY
    keys = [line for line in made.splitlines() if re.match(r"\w+ = ", line)]
    silent = [key for key in keys if "  # " not in key and f"\n{key}\n" not in made]
    assert (values["name"], silent) == ("shop", [])
    assert max(map(len, keys)) <= 110 or layout.startswith("movielens")


@pytest.mark.spark
@pytest.mark.parametrize("layout", GUESSED)
def test_ingest_takes_the_same_sample_by_it(layout, tmp_path, submit_here):
    sample = getattr(layouts, layout)(tmp_path)
    path = tmp_path / "shop.toml"
    new_dataset.write([str(sample)], "shop", path)
    config = Settings(home=tmp_path / "home", dataset=str(path), spark_master="local[2]")
    seen = check_config.report(config, str(sample), submit=submit_here)
    assert seen.passed, [check for check in seen.checks if not check.passed]
    assert seen.day == (None if layout in OF_ANY_DAY else layouts.DAY)
    bad = 4 if layout == "invoices" else 0
    assert (seen.counts["read"], seen.counts["bad"]) == (layouts.ROWS, bad)
    assert set(seen.days) == {layouts.DAY}


def test_what_cannot_be_guessed_is_refused_by_name(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("title,colour\ntea,green\ncoffee,black\n")
    with pytest.raises(PermanentError, match="event_ts, found title, colour; name files of events alone"):
        new_dataset.text([str(path)])
    path.write_text("only one column\n")
    with pytest.raises(PermanentError, match="notes.csv: expected values with a delimiter between them"):
        new_dataset.text([str(path)])
    path.write_text("user,item,time\n")
    with pytest.raises(PermanentError, match="notes.csv: expected"):
        new_dataset.text([str(path)])


def test_the_command_writes_a_new_file_and_never_over_another(tmp_path):
    sample, out = str(layouts.movielens_csv(tmp_path)), tmp_path / "conf" / "films.toml"
    out.parent.mkdir()
    done = CliRunner().invoke(app, ["new-dataset", sample, "--name", "films", "--out", str(out)])
    assert done.exit_code == 0, done.output
    made = out.read_text()
    schema = (out.parent / made.splitlines()[0].removeprefix("#:schema ")).resolve()
    assert schema == new_dataset.schema.FILE
    printed = CliRunner().invoke(app, ["new-dataset", sample, "--name", "films"]).output
    assert printed.splitlines()[1:] == made.splitlines()[1:]
    again = CliRunner().invoke(app, ["new-dataset", sample, "--out", str(out)])
    assert (again.exit_code, out.read_text()) == (1, made)
    assert "expected no such file" in again.output
