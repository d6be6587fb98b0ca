"""How many cores this process may use."""

import os

import proclimits


def count() -> int:
    """Count the cores that it may run on, at most the quota of its cgroup and of all groups above it.

    A quota of 2.5 cores counts as 2. With a third thread the kernel would stop all three for part of
    each period, and such threads wait for each other.
    """
    allowed = len(os.sched_getaffinity(0))
    # loky, and joblib with it, misses all quotas but the root's: https://github.com/joblib/loky/issues/634
    quota = proclimits.get_cpu_limit()
    return allowed if quota is None else max(1, min(allowed, int(quota)))
