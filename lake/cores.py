"""How many cores this process may use."""

import os

import proclimits


def count() -> int:
    """Count those it may run on, at most the quota of its cgroup and of all groups above it.

    A quota of 2.5 cores counts as 2: with a third thread the kernel would stop all three for part of
    each period, and such threads wait for each other.
    """
    allowed = len(os.sched_getaffinity(0))
    # joblib and loky read the root of the cgroups alone and miss the quota of a systemd slice or a pod.
    quota = proclimits.get_cpu_limit()
    return allowed if quota is None else max(1, min(allowed, int(quota)))
