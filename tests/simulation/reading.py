"""Rows read again and again are parsed once: a row never changes, and the shipped functions are pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.core import lease_rows
from headrace.rows import Row
from simulation.patching import patch

_known: dict[tuple[str, int], tuple[Row, Any]] = {}
"""By the row's identity; the row is kept, so that no other takes its place."""


def remember_rows() -> None:
    """From here on."""
    for name in ("lease_of", "worker_of"):
        patch(lease_rows, name, _once(name, getattr(lease_rows, name)))


def forget_rows() -> None:
    """Between two runs."""
    _known.clear()


def _once(name: str, parse: Callable[[Row], Any]) -> Callable[[Row], Any]:
    def parsed(row: Row) -> Any:
        known = _known.get((name, id(row)))
        if known is None:
            known = _known[name, id(row)] = (row, parse(row))
        return known[1]

    return parsed
