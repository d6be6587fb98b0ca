"""The one way to wait: as long as something moves, without a limit on the total time.

A total time says more of the machine than of the thing that is waited for.
"""

import time
from collections.abc import Callable

from lake.errors import NightjarError

STILL_SECONDS = 900.0  # giving up a wait too late costs less than giving it up too early
POLL_SECONDS = 1.0  # one request a second is no load, and nobody notices a second more


class Still(NightjarError):
    """Nothing has moved for so long that a wait was given up."""


def wait_until(
    done: Callable[[], object],
    movement: Callable[[], object],
    what: str,
    *,
    still: float = STILL_SECONDS,
    pause: float = POLL_SECONDS,
) -> None:
    """Wait until `done` returns something true.

    Parameters
    ----------
    movement
        Returns what can be seen of the progress: a value that changes whenever anything has
        moved.
    what
        What is waited for, for the message.
    still
        Seconds after which the wait is given up if nothing moves.
    pause
        Seconds between two looks.

    Raises
    ------
    Still
        When nothing has moved for `still` seconds; the message shows what was seen last.
    """
    seen, since = movement(), time.monotonic()
    while not done():
        if (now := movement()) != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since >= still:
            raise Still(f"waited for {what}; nothing has moved for {still:.0f} s: {seen}")
        time.sleep(pause)
