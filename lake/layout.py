"""Every path below the lake's root is spelled here (releases: `nightjar_reader.format`)."""

import datetime as dt
import hashlib
import secrets

from lake.schemas import TABLES
from nightjar_reader.sequences import file_name

RECORDS = "records"
NIGHTS = "nights"
ATTEMPTS = "attempts"
BUNDLES = "bundles"
CACHES = "caches"
REFUSED = "refused"
REPORTS = "reports"
PROFILES = "profiles"

DECIDED = ".decided"


def new_attempt() -> str:
    """16 random hex digits that name one try of a stage."""
    return secrets.token_hex(8)


def attempt(name: str, file: str = "") -> str:
    """A file of an attempt, or its folder."""
    return f"{ATTEMPTS}/{name}/{file}".rstrip("/")


def begun(name: str) -> str:
    """The mark that tells when an attempt began."""
    return attempt(name, "begun")


def plan(name: str) -> str:
    """The plan of an attempt: what it has to do."""
    return attempt(name, "plan.json")


def result(name: str) -> str:
    """What an attempt's job made."""
    return attempt(name, "result.json")


def scored(name: str) -> str:
    """Which lists a cluster made for an attempt."""
    return attempt(name, "lists.json")


def made_for(name: str, file: str) -> str:
    """A file of a release that a cluster made for an attempt, while the release has no id yet."""
    return attempt(name, f"release/{file}")


def error(name: str) -> str:
    """Why an attempt's job ended without a result."""
    return attempt(name, "error.json")


def changes(name: str) -> str:
    """What the release of an attempt changes for users."""
    return attempt(name, "changes.json")


def registered(name: str) -> str:
    """Which version MLflow gave to the bundle of a training attempt."""
    return attempt(name, "registered.json")


def raw_copies(name: str) -> str:
    """The folder of an attempt's copies of raw files."""
    return attempt(name, "raw")


def copied(name: str, raw: str) -> str:
    """An attempt's copy of a raw file, named by a hash, as a raw file's name may hold any letter."""
    return f"{raw_copies(name)}/{hashlib.sha256(raw.encode()).hexdigest()[:16]}.parquet"


def days_of_rows(name: str) -> str:
    """The folder of the day of each row of the files that an attempt is to cut."""
    return attempt(name, "days")


def staged(table: str, attempt_name: str) -> str:
    """The folder into which an attempt writes a table."""
    return f"{table}/{attempt_name}"


def partition(table: str, attempt_name: str, day: dt.date) -> str:
    """The folder of one partition that an attempt wrote."""
    return f"{staged(table, attempt_name)}/{TABLES[table].partition}={day.isoformat()}"


def records(stage: str, day: dt.date) -> str:
    """The folder of a stage's records of one partition."""
    return f"{RECORDS}/{stage}/{day.isoformat()}"


def night(day: dt.date) -> str:
    """The folder of the marks of a partition's nights: that one has begun, and that it is decided."""
    return f"{NIGHTS}/{day.isoformat()}"


def night_mark(day: dt.date, number: int, ending: str = "") -> str:
    """The mark that a night has begun or, with the ending `DECIDED`, that it is decided."""
    return f"{night(day)}/{file_name(number, ending)}"


def refused(day: dt.date) -> str:
    """The folder of the ledger of a day's ingest attempts that were refused for their rows."""
    return f"{REFUSED}/{day.isoformat()}"


def bundle(bundle_id: str) -> str:
    """A bundle's folder."""
    return f"{BUNDLES}/{bundle_id}"


def cached(kind: str, day: dt.date, digest: str = "") -> str:
    """The folder of what a cache keeps or, with the ending ``.json``, what is known of it."""
    return f"{CACHES}/{kind}/{day.isoformat()}/{digest}".rstrip("/")


def report(stage: str, day: str, attempt_name: str, suffix: str) -> str:
    """A validation's result (``json``) or its readable report (``html``)."""
    return f"{REPORTS}/{stage}/{day}/{attempt_name}.{suffix}"


def profile(day: dt.date, attempt_name: str) -> str:
    """A committed day in numbers, by the attempt that its record names."""
    return f"{PROFILES}/{day.isoformat()}/{attempt_name}.json"
