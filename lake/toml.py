"""A TOML file as checked values, and the messages about those that are wrong."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lake.errors import ConfigError
from nightjar_reader.address import redacted

FOLDER = "folder"
"""Where validators find the folder of the file: the paths in it are relative to it."""
UNPARSED = "unparsed"
"""Where validators find that expressions are not to be parsed."""
Model = TypeVar("Model", bound=BaseModel)


def read(path: Path, kind: type[Model], unparsed: bool = False) -> Model:
    """Read a file.

    Parameters
    ----------
    unparsed
        Whether expressions are taken as they are.

    Raises
    ------
    ConfigError
        When it is not TOML in UTF-8, or has a wrong value; the message names the file, and of each
        such value its key's path, what was expected and what was found.
    """
    with refusing(path, kind):
        return kind.model_validate(_values(path), context={FOLDER: path.parent, UNPARSED: unparsed})


@contextmanager
def refusing(where: object, kind: type[BaseModel], spell: Callable[[str], str] = str) -> Iterator[None]:
    """Raise a `ConfigError` for values that a model refuses: each by its key, what was expected and found.

    Parameters
    ----------
    where
        Where the values stand, for the message.
    spell
        How a key is written there.
    """
    try:
        yield
    except ValidationError as error:
        problems = [(".".join(map(str, each["loc"])), _describe(each, kind)) for each in error.errors()]
        lines = (f"{spell(key)}: {problem}" if key else problem for key, problem in problems)
        raise ConfigError(f"{where}: {'; '.join(lines)}") from error


def _values(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except ValueError as error:  # no TOML, or a number of more digits than Python reads
        raise ConfigError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: expected lists and tables of few levels, found hundreds") from error


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: expected UTF-8, as all TOML is, found the byte 0x{content[error.start]:02x} "
            f"at {error.start}; save it as UTF-8"
        ) from error
    if text.startswith("\ufeff"):
        raise ConfigError(f"{path}: expected UTF-8 without a byte order mark; save it without one")
    return text.replace("\r\n", "\n")


def models_in(field: FieldInfo) -> list[type[BaseModel]]:
    """The models that a field may hold."""
    parts = (field.annotation, *get_args(field.annotation))
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


def _keys(kind: type[BaseModel] | None, place: tuple[str | int, ...]) -> set[str]:
    """The keys of the section that lies at a place of such a file."""
    for name in place:
        field = kind.model_fields.get(str(name)) if kind else None
        kind = next(iter(models_in(field)), None) if field else None
    return set(kind.model_fields) if kind else set()


def _describe(detail: Any, kind: type[BaseModel]) -> str:
    if detail["type"] == "extra_forbidden":
        *place, name = detail["loc"]
        return f"there is no such key{near(str(name), _keys(kind, tuple(place)))}"
    if detail["type"] == "missing":
        return "expected a value, found none"
    text = re.sub("^(Input should|Value error,) ?", "", detail["msg"])
    text = re.sub("^be ", "expected ", re.sub("^(have|match) ", r"expected to \1 ", text))
    plain = isinstance(detail["input"], str | int | float | list | tuple) and "found" not in text
    return f"{text}, found {redacted(repr(detail['input']))}" if plain else text


def near(name: str, known: Iterable[str]) -> str:
    """A question whether the nearest of the known names was meant; empty where none is near."""
    matches = difflib.get_close_matches(name, sorted(known), 1)
    return f" (did you mean {matches[0]}?)" if matches else ""
