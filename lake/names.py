"""The names of stages and tables, as records, folders and messages spell them."""

from enum import StrEnum


class StageName(StrEnum):
    """A stage, in the order of the night; `nightjar.stages` says what each does."""

    INGEST = "ingest"
    FEATURES = "features"
    TRAIN = "train"
    PRECOMPUTE = "precompute"


class TableName(StrEnum):
    """A table; what each holds is told in `lake.schemas`."""

    INTERACTIONS = "interactions"
    QUARANTINE = "quarantine"
    CATALOGUE = "catalogue"
    CATALOGUE_QUARANTINE = "catalogue_quarantine"
    USERS = "user_features"
    ITEMS = "item_features"
    PAIRS = "user_item_features"
    CATEGORIES = "user_category_features"
