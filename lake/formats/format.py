"""What a format of raw files is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from lake.formats.content import ColumnSpec, Content, Unfit

D = TypeVar("D")


class Format(ABC, Generic[D]):
    """One format: it inspects a file, counts its rows, and says what Spark reads of it.

    Spark reads Parquet alone, where it tells the number of each row. Of any other file the format writes a
    copy in Parquet; so it does where Spark would not read a Parquet file with equal values.

    Parameters
    ----------
    dialect
        The table `TABLE` of the data set, where the format has one.

    Attributes
    ----------
    NAME
        As a data set's TOML has it.
    TABLE
        The table of the TOML that holds its dialect; empty where it has none.
    HINT
        What else may be done where a column is missing.
    """

    NAME: ClassVar[str]
    TABLE: ClassVar[str] = ""
    HINT: ClassVar[str] = ""

    def __init__(self, dialect: D) -> None:
        self.dialect = dialect

    @property
    def has_head(self) -> bool:
        """Whether a file has bytes even without rows, so that one of 0 bytes is damaged."""
        return True

    @abstractmethod
    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read a file whole and strictly, and write a copy where Spark needs one.

        Rows are counted by the boundaries that the format gives them.

        Parameters
        ----------
        copy
            Where the copy goes. Its fields are named by `lake.schemas.copied_field`; `text.Copy` writes one
            of texts, `arrow.copied` one of Arrow's values.

        Raises
        ------
        Unfit
            Where the file cannot be taken in. An `OSError`, `ValueError` or Arrow's own error is told as a
            file that cannot be read.
        """

    def texts(self, path: Path) -> Iterator[str]:
        """The text of the head, where the format has one, and of each row, as they stand in the file.

        Raises
        ------
        Unfit
            Where the rows of the format are no text, or the dialect makes several of one.
        """
        action = "cut it by another program, such as DuckDB's COPY with PARTITION_BY"
        raise Unfit("rows of text, as those of csv and jsonl", f"the format {self.NAME}", action)
