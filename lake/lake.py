"""The lake as a whole: what stages work on, opened by the task or the command and handed down."""

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

from lake.dataset import Dataset, read_dataset
from lake.names import StageName
from lake.records import Record, Records
from lake.settings import Places
from lake.storage import Storage, open_storage


@dataclass(frozen=True)
class Lake:
    """Where a night reads and writes, and the data set that it is for.

    Attributes
    ----------
    uri, raw_uri, releases_uri
        The addresses of the lake itself, of the raw files and of the releases.
    mlflow_uri
        The MLflow server or database that follows the decisions.
    data
        The data set.
    """

    uri: str
    raw_uri: str
    releases_uri: str
    mlflow_uri: str
    data: Dataset

    @classmethod
    def open(cls, places: Places) -> "Lake":
        """The lake at these places; reads the TOML of the data set."""
        data = read_dataset(places.dataset)
        return cls(places.lake, places.raw, places.releases, places.mlflow_uri, data)

    @property
    def storage(self) -> Storage:
        """The files of the lake."""
        return open_storage(self.uri)

    @property
    def raw(self) -> Storage:
        """The raw files."""
        return open_storage(self.raw_uri)

    @property
    def releases(self) -> Storage:
        """The releases and their ledger."""
        return open_storage(self.releases_uri)

    @cached_property
    def records(self) -> Records:
        """The records of the lake, each read once."""
        return Records(self.storage)

    def ingested(self, day: dt.date) -> list[Record]:
        """The current ingest records from the data set's first day up to `day`, in order of days."""
        records = self.records.all_current(StageName.INGEST, day)
        return [record for record in records if record.day >= self.data.first_day]
