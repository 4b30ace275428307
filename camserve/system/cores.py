"""How many cores this process may use. In its own file, because the service needs the number before it loads torch."""

import os
from functools import cache
from pathlib import Path


@cache
def granted_cores() -> int:
    """Return how many cores this process may use: its affinity, or the cgroup's quota if that is less; at least 1.

    It is computed once, because pools do not change their size.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, int(_cgroup_quota() or cores)))


def _cgroup_quota() -> float | None:
    """Return how many CPUs the cgroup (v2, then v1) may use; None without a limit."""
    root = Path("/sys/fs/cgroup")
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
