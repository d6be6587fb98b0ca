"""Plans: all that one attempt of a stage has to do, by value, as a file in the attempt's folder.

Whoever works on a plan, here or on another machine, reads what it names and no settings.
"""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from lake.dataset import Dataset, digest_of, of_sections
from lake.records import Draft, Input, inputs_of

BLOCK_MIB: Final = 512
"""How much memory a block of users takes unless a setting says otherwise: some thousand users, so that what
is done once for each block costs little beside it."""


class Ending(StrEnum):
    """Outcomes of the stages that decide nothing (of the others: `lake.decisions.Outcome`)."""

    COMMITTED = "committed"
    CLOSED = "closed"
    """A closed day that came without a file; one with a file is committed."""
    BUILT = "built"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every plan has; a stage adds what else its work needs.

    Attributes
    ----------
    stage
        The stage whose plan it is.
    attempt
        The attempt, 16 hex digits.
    version
        The version of the stage when the attempt began.
    sections
        The sections of the data set's TOML that the stage reads, as JSON values.
    based_on
        The partitions to make, each with the sequence of its record that was current when the
        attempt began; 0 for none.
    inputs
        The table partitions and the bundle that it reads, by record. Raw files have none.
    """

    stage: str
    attempt: str
    version: int
    sections: dict[str, Any]
    based_on: dict[dt.date, int]
    inputs: tuple[Input, ...] = ()

    @cached_property
    def config(self) -> Dataset:
        """The sections as values; reading any other raises `AttributeError`."""
        return of_sections(self.sections)

    @property
    def config_digest(self) -> str:
        """SHA-256 (hex) of the sections."""
        return digest_of(self.sections)

    @property
    def day(self) -> dt.date:
        """The newest partition."""
        return max(self.based_on)

    def inputs_of(self, table: str) -> list[Input]:
        """The inputs that are partitions of one table, oldest first."""
        return inputs_of(self.inputs, table)

    def draft(self, day: dt.date, outcome: str = Ending.COMMITTED) -> Draft:
        """The draft of a partition's record: it names all inputs of the plan; a stage adds what it made."""
        return Draft(
            stage=self.stage,
            partition=day.isoformat(),
            attempt=self.attempt,
            outcome=outcome,
            version=self.version,
            config_digest=self.config_digest,
            inputs=self.inputs,
        )
