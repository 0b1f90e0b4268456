"""`headrace demo`: everything on this machine, and a proof at the end that nothing was lost.

children   processes that never outlive the demo
stack      the local AWS look-alike, its stream and its table
story      what happens, in order
watch      the figures while it happens
handler    what the workers do with a record
"""

from __future__ import annotations

from datetime import timedelta


def demo(
    *, rate: int, duration: timedelta, shards: int, workers: int, poison_rate: float, seed: int, keep: bool
) -> int:
    """Show it; the exit code is that of the verification, 1 when something broke, 130 when the user stopped it."""
    from headrace.cli.demo.story import Plan, show  # noqa: PLC0415 - workers import this package for the handler alone

    return show(Plan(rate, duration.total_seconds(), shards, workers, poison_rate, seed, keep))
