"""How many processors this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of a period that may be used, or `max`, and the period (Linux, control groups version 2)."""


def processors(limit: Path = CONTAINER_LIMIT) -> int:
    """Those of the machine, less what the affinity and the container's limit take away; at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit.read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return allowed
