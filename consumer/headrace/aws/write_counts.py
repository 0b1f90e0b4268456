"""What a sink has done, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class WriteCounts:
    """What a sink has done since it was made, for the metrics."""

    requests: int = 0
    request_bytes: int = 0
    written: int = 0
    """Settled writes, with all that are counted apart below."""
    folded: int = 0
    """Writes that were not sent, because another one of their key in flight stood for them."""
    duplicates: int = 0
    """Writes that were there already (mode `insert`), or that met themselves (mode `latest`)."""
    stale: int = 0
    """Writes that a newer one had overtaken (mode `latest`)."""
    refused: int = 0
    throttled: int = 0
    """Requests refused as a whole for rate or capacity."""
    unprocessed: int = 0
    """Writes that came back: UnprocessedItems, or statements that were throttled."""
    failed: int = 0
    """Requests that failed for any other reason and are tried again."""
