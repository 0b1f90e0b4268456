"""Spans of time as a person says them."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(seconds: float) -> str:
    """Two units at most: `42 s`, `3 min 5 s`, `2 h`, `1 d 4 h`; a tenth of a second below ten."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for (size, name), (smaller, smaller_name) in pairwise(_UNITS):
        if whole >= size:
            count, rest = divmod(whole, size)
            return f"{count} {name} {rest // smaller} {smaller_name}" if rest // smaller else f"{count} {name}"
    return f"{whole} s"
