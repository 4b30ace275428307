"""How many cores this process has. Apart from the pool, as the service must know before it reads torch."""

import os
from functools import cache
from pathlib import Path


@cache
def granted_cores() -> int:
    """Cores this process may use: its affinity, less where the cgroup's quota grants less; at least 1.

    Asked once: pools are as large as they were made.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, int(_cgroup_quota() or cores)))


def _cgroup_quota() -> float | None:
    """CPUs the cgroup (v2, then v1) may use, None without a limit."""
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
