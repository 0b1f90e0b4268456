"""Every test of this folder runs on asyncio's own loop and on uvloop, which is what `headrace run` uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops, by the names that tests show."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
