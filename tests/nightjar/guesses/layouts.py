"""A few rows in each of the layouts that shops and public data sets have, in a folder."""

import datetime as dt
import gzip
import io
import json

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

DAY = dt.date(2024, 5, 1)
ROWS = 40


def _put(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return path


def _at(number):
    return dt.datetime.combine(DAY, dt.time(number % 24, number % 60, 7), dt.UTC)


def _events():
    """Users, items, stamps, types and prices; no pair of user and item twice."""
    for n in range(ROWS):
        yield (
            100 + n % 12,
            5000 + n,
            _at(n),
            ("view", "view", "addtocart", "transaction")[n % 4],
            f"{n + 1}.50",
        )


def movielens_100k(folder):
    lines = (f"{user}\t{item}\t{user % 5 + 1}\t{int(at.timestamp())}\n" for user, item, at, *_ in _events())
    return _put(folder, "ml-100k/u.data", "".join(lines))


def movielens_1m(folder):
    lines = (f"{user}::{item}::{user % 5 + 1}::{int(at.timestamp())}\n" for user, item, at, *_ in _events())
    return _put(folder, "ml-1m/ratings.dat", "".join(lines))


def movielens_csv(folder):
    lines = (f"{user},{item},{user % 5}.5,{int(at.timestamp())}\n" for user, item, at, *_ in _events())
    return _put(folder, "ml-25m/ratings.csv", "userId,movieId,rating,timestamp\n" + "".join(lines))


def invoices(folder):
    head = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
    items = ("85123A", "POST", "22423", "85099b")
    lines = (
        f'{536365 + n // 3},{items[n % 4]},"LANTERN, ""RED""",{n % 5 + 1},5/1/2024 {n % 24}:{n + 10},'
        f"{price},{'' if n % 10 == 0 else f'{user}.0'},United Kingdom\n"
        for n, (user, _, _, _, price) in enumerate(_events())
    )
    return _put(folder, "shop/online_retail.csv", head + "".join(lines))


def latin_1(folder):
    head = "customer_id;article_no;Bezeichnung;qty;amount;order_date\n"
    lines = (
        f"K{user};{item};Kaffeelöffel für Gäste;2;1.2{user % 10}4,50;{at:%d.%m.%Y %H:%M:%S}\n"
        for user, item, at, *_ in _events()
    )
    return _put(folder, f"export/orders/{DAY}.csv", (head + "".join(lines)).encode("cp1252"))


def clickstream(folder):
    for hour in range(24):
        rows = (event for event in _events() if event[2].hour == hour)
        lines = (
            json.dumps(
                {
                    "event": kind,
                    "timestamp": at.isoformat(),
                    "user": {"id": f"u{user}", "country": "de"},
                    "product": {"sku": str(item), "price": float(price)},
                }
            )
            + "\n"
            for user, item, at, kind, price in rows
        )
        name = f"sink/events/dt={DAY}/hour={hour:02d}/part-{hour}.json.gz"
        _put(folder, name, gzip.compress("".join(lines).encode(), mtime=0))
    return folder / "sink"


def baskets(folder):
    orders = [
        {"id": n, "customerId": user, "at": at.isoformat(), "lines": [{"sku": f"a{item}", "qty": 2}]}
        for n, (user, item, at, *_) in enumerate(_events())
    ]
    text = json.dumps([{"order": each} for each in orders], indent=1)
    return _put(folder, f"baskets/{DAY:%Y/%m/%d}.json", text)


def _table():
    columns = zip(*_events(), strict=True)
    users, items, stamps, kinds, prices = (list(column) for column in columns)
    amounts = pa.array(map(float, prices), pa.float64())
    at = pa.array(stamps, pa.timestamp("us", "UTC"))
    return pa.table(
        {"visitorid": users, "itemid": items, "event_time": at, "event": kinds, "revenue": amounts}
    )


def spark_folder(folder):
    for part in range(2):
        made = io.BytesIO()
        pq.write_table(_table().slice(part * 20, 20), made)
        _put(folder, f"lake/events/dt={DAY}/part-0000{part}-ab{part}c.snappy.parquet", made.getvalue())
    _put(folder, f"lake/events/dt={DAY}/_SUCCESS", "")
    return folder / "lake"


def avro(folder):
    kinds = {
        "userId": "long",
        "productId": "long",
        "createdAt": {"type": "long", "logicalType": "timestamp-millis"},
        "action": "string",
        "quantity": "int",
    }
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    rows = [dict(zip(kinds, (*event[:4], 3), strict=True)) for event in _events()]
    made = io.BytesIO()
    fastavro.writer(made, {"type": "record", "name": "row", "fields": fields}, rows)
    return _put(folder, f"kafka/topic/{DAY:%Y%m%d}/topic+0+0000000123.avro", made.getvalue())


def orders_tsv(folder):
    head = "order_id\tclient_id\tsku\tordered_at\tpieces\ttotal\n"
    lines = (
        f"{'NULL' if n == 3 else n}\t{user}\t00{item}\t{at:%Y-%m-%d %H:%M}\t1\t{price}\n"
        for n, (user, item, at, _, price) in enumerate(_events())
    )
    return _put(folder, f"erp/{DAY}/orders-{DAY}.tsv", head + "".join(lines))
