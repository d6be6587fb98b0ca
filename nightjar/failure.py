"""What ended a night before its decision."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """The first thing of a night that failed.

    Attributes
    ----------
    stage
        The stage, or the task.
    error
        The class of the exception.
    """

    stage: str
    error: str
