"""The sink's requests, traced: each a part of the first batch that has writes in it, linked to the others."""

from __future__ import annotations

from typing import Any

from headrace.aws.chunk_writer import ChunkWriter
from headrace.aws.write_request import Answered, Writes
from headrace.traces import Traces


class TracedChunkWriter(ChunkWriter):
    """Stands in for the writer where tracing is on."""

    def __init__(self, traces: Traces, *parts: Any) -> None:
        super().__init__(*parts)
        self._traces = traces

    async def _attempt(self, part: Writes) -> Answered:
        of = dict.fromkeys(write.submission.trace for line in part.values() for write in line)
        with self._traces.request("dynamodb", self._request.target.rpartition(".")[2], of):
            return await super()._attempt(part)
