"""What a reader of one format finds in a raw file, or what is wrong with it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from lake.schemas import ID
from spark_jobs.casts import Targets
from spark_jobs.plans import RawColumn


class Unfit(Exception):
    """A raw file that cannot be taken: what was expected and found, and what to do."""

    def __init__(self, expected: str, found: str, action: str = "deliver it again") -> None:
        super().__init__(f"expected {expected}, found {found}; {action}")
        self.expected, self.found, self.action = expected, found, action


@dataclass(frozen=True)
class Asked:
    """What the columns of a raw file are for.

    Attributes
    ----------
    targets
        Our columns, each with the raw column that holds it and our type.
    whole
        Whether the columns that are not mapped are wanted one by one, as a catalogue's are.
    """

    targets: Targets
    whole: bool = False

    @property
    def mapped(self) -> frozenset[str]:
        """The raw columns that hold one of ours."""
        return frozenset(column for column, _ in self.targets.values())

    @property
    def ids(self) -> frozenset[str]:
        """Those of them that hold ids."""
        return self._of(ID)

    @property
    def stamps(self) -> frozenset[str]:
        """Those of them that hold stamps."""
        return self._of("timestamp")

    def _of(self, kind: str) -> frozenset[str]:
        return frozenset(column for column, target in self.targets.values() if target == kind)


@dataclass(frozen=True)
class Content:
    """What a raw file holds.

    Attributes
    ----------
    columns
        As Spark will read them.
    kinds
        How the file itself calls each column's type.
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
    """The names in order; one that was there before gets a number that none has, as ``a (2)``."""
    given: list[str] = []
    for name in names:
        numbered = (f"{name} ({number})" for number in count(2))
        free = (other for other in numbered if other not in given and other not in names)
        given.append(next(free) if name in given else name)
    return given


def repeated(names: Sequence[str]) -> frozenset[str]:
    """Names that stand for more than one column."""
    return frozenset(name for name, times in Counter(names).items() if times > 1)
