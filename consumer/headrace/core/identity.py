"""Identifiers that no two ever share."""

from __future__ import annotations

from collections.abc import Callable


def fresh_token(chance: Callable[[], float]) -> str:
    """128 random bits as text, from random numbers in [0, 1): for what must never be taken for another of its name."""
    return "".join(f"{int(chance() * 2**32):08x}" for _ in range(4))
