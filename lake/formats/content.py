"""What the readers of all formats share: how columns are used, what a file holds, why it is refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from lake.expressions import columns_of
from lake.schemas import ID

Targets = Mapping[str, tuple[str, str]]
"""For each of our columns the name or the expression (`lake.expressions`) that makes it, and our type."""


class Unfit(Exception):
    """A raw file that cannot be taken in: what was expected and found, and what to do."""

    def __init__(self, expected: str, actual: str, action: str = "deliver it again") -> None:
        super().__init__(f"expected {expected}, found {actual}; {action}")


@dataclass(frozen=True)
class RawColumn:
    """A column of a raw file.

    Attributes
    ----------
    name
        As the file has it; where a name repeats, a number follows it, as in ``a (2)``.
    family
        Its family (`lake.formats.families`).
    type
        The SQL type as which Spark reads it.
    inner
        Whether it is a part of another column, by the name that leads there.
    """

    name: str
    family: str
    type: str
    inner: bool = False


@dataclass(frozen=True)
class ColumnSpec:
    """How the columns of a raw file are used.

    Attributes
    ----------
    targets
        Our columns, each with the name or the expression that makes it and our type.
    whole
        Whether the columns that are not mapped are read too, each by itself, as a catalogue's are.
    """

    targets: Targets
    whole: bool = False

    @property
    def mapped(self) -> frozenset[str]:
        """The raw columns that hold one of ours, or that an expression for one names."""
        return frozenset(column for text, _ in self.targets.values() for column in columns_of(text))

    @property
    def ids(self) -> frozenset[str]:
        """The mapped columns that hold ids."""
        return self._of(ID)

    @property
    def stamps(self) -> frozenset[str]:
        """The mapped columns that hold stamps."""
        return self._of("timestamp")

    def _of(self, kind: str) -> frozenset[str]:
        texts = (text for text, target in self.targets.values() if target == kind)
        return frozenset(column for text in texts for column in columns_of(text))


@dataclass(frozen=True)
class Content:
    """What a raw file holds.

    Attributes
    ----------
    columns
        The columns as Spark will read them.
    kinds
        The file's own name of each column's type; a column without one is null in each row.
    repeated
        Names that stand for more than one column.
    rows
        Counted by the format's own boundaries.
    copied
        Whether Spark has to read the copy that the reader wrote.
    warnings
        What the operator should look at.
    """

    columns: tuple[RawColumn, ...]
    kinds: dict[str, str]
    rows: int
    copied: bool
    repeated: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def distinct(names: Sequence[str]) -> list[str]:
    """The names in order; a repeated one gets a number that makes it new, as in ``a (2)``."""
    unique: list[str] = []
    for name in names:
        numbered = (f"{name} ({number})" for number in count(2))
        free = (candidate for candidate in numbered if candidate not in unique and candidate not in names)
        unique.append(next(free) if name in unique else name)
    return unique


def repeated(names: Sequence[str]) -> frozenset[str]:
    """Names that stand for more than one column."""
    return frozenset(name for name, times in Counter(names).items() if times > 1)
