"""Read published recommendations: ``Reader(releases_uri).for_user(user_id)``.

Needs numpy and pyarrow, and uses Annoy where it is installed. They are loaded at the first use of a
name below, so that `nightjar_reader.format` stays cheap to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightjar_reader.answers import CatalogueItem, Neighbours, Popular, Recommendations, SimilarItems
    from nightjar_reader.errors import (
        BadId,
        EntryUnreadable,
        FormatError,
        NoRelease,
        NotInThisRelease,
        NoUsableRelease,
        ReaderError,
        ReleaseCorrupt,
        ReleaseUnreadable,
    )
    from nightjar_reader.reader import Reader, Stats

__all__ = [
    "BadId",
    "CatalogueItem",
    "EntryUnreadable",
    "FormatError",
    "Neighbours",
    "NoRelease",
    "NoUsableRelease",
    "NotInThisRelease",
    "Popular",
    "Reader",
    "ReaderError",
    "Recommendations",
    "ReleaseCorrupt",
    "ReleaseUnreadable",
    "SimilarItems",
    "Stats",
]

_MODULES = ("errors", "answers", "reader")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            value = getattr(import_module(f"{__name__}.{module}"), name, None)
            if value is not None:
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
