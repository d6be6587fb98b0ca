"""Requests and results between steps: frozen dataclasses as JSON files in an attempt's folder."""

from typing import TypeVar

from pydantic import TypeAdapter

from lake.storage import Storage

T = TypeVar("T")


def write(storage: Storage, path: str, message: object) -> None:
    """Put a message; one that exists is left as it is."""
    storage.put_new(path, TypeAdapter(type(message)).dump_json(message, indent=1))


def read(storage: Storage, path: str, kind: type[T]) -> T:
    """Read a message; `FileNotFoundError` where there is none."""
    message: T = TypeAdapter(kind).validate_json(storage.read(path))
    return message
