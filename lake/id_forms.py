"""The one form that text ids of users and of items are given, wherever they are read."""

from typing import Final, Literal

from lake.kinds import Section


class IdForm(Section):
    """How the spellings of one text id become one; by default ids are as written, without blanks around."""

    case: Literal["keep", "upper", "lower"] = "keep"
    """Whether letters become upper or lower case."""
    unicode: Literal["keep", "nfc"] = "keep"
    """Whether letters with marks take their composed form, so that both spellings of `é` are one."""
    blanks: Literal["keep", "collapse"] = "keep"
    """Whether blanks within an id, of any width and number, become one plain blank."""
    floats: Literal["keep", "whole"] = "keep"
    """Whether `1364.0` becomes `1364`; what is kept is judged by `rules.float_ids`."""
    zeros: Literal["keep", "strip"] = "keep"
    """Whether an id of digits alone loses the zeros in front of its first other digit."""


AS_WRITTEN: Final = IdForm()
