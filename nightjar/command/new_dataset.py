"""Writes the TOML of a data set from samples of its files, with what each guess rests on."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lake.dataset import read_dataset
from lake.errors import ConfigError, PermanentError
from nightjar.command import schema
from nightjar.guesses import draft


def text(samples: Sequence[str], name: str = "", folder: Path | None = None) -> str:
    """The TOML of some samples; it is one that can be read.

    Parameters
    ----------
    samples
        Files or folders, by path or address on S3.
    name
        The data set's; by default that of the folder of the files.
    folder
        Where it will lie, so that it finds the schema for editors; by default the working folder.

    Raises
    ------
    PermanentError
        When the samples tell too little.
    """
    beside = os.path.relpath(schema.FILE, folder or Path.cwd())
    made = draft.text(draft.of_samples(samples, name), beside)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "guessed.toml")
        path.write_text(made, encoding="utf-8")
        try:
            read_dataset(str(path))
        except ConfigError as error:
            told = str(error).removeprefix(f"{path}: ")
            raise PermanentError(
                f"what was guessed is no data set ({told}); write it by docs/data-sets.md"
            ) from error
    return made


def write(samples: Sequence[str], name: str, path: Path) -> None:
    """Write the TOML of some samples into a new file.

    Raises
    ------
    PermanentError
        When there is such a file, or the samples tell too little.
    """
    made = text(samples, name, path.absolute().parent)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(made)
    except FileExistsError as error:
        raise PermanentError(f"{path}: expected no such file, found one; give another --out") from error
    except OSError as error:
        raise PermanentError(
            f"{path}: expected a file that can be written, found {error.strerror}"
        ) from error
