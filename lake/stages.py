"""The stages by name, in the order of the night; what they do is told in `nightjar.stages`."""

from enum import StrEnum


class StageName(StrEnum):
    """A stage, as records and the folders of records spell it."""

    INGEST = "ingest"
    FEATURES = "features"
    TRAIN = "train"
    PRECOMPUTE = "precompute"
