"""Tracing switched on by the settings. Where it is off, nothing of OpenTelemetry is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from headrace.errors import SettingsError
from headrace.ops import logs
from headrace.settings import Settings
from headrace.traces import Traces

CARRIED: Final = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
}
"""Standard variables of which one value is carried out: what would be ignored is refused."""


@contextmanager
def open_traces(settings: Settings) -> Iterator[Traces | None]:
    """Traces of the worker, sent while the context lasts; log lines carry their ids. Raises SettingsError."""
    if not settings.traces.enabled:
        yield None
        return
    try:
        from headrace.ops import otel  # noqa: PLC0415 - only where traces are on: it costs 100 ms and 20 MB
    except ModuleNotFoundError as error:
        problem = f"needs OpenTelemetry, and {error.name} is not installed"
        mend = "Install headrace[otel], or switch it off"
        raise SettingsError("HEADRACE_TRACES_ENABLED", "true", problem, mend) from error
    for name, carried in CARRIED.items():
        if (value := os.environ.get(name)) not in {None, "", carried}:
            raise SettingsError(name, value, "is not carried out", f"Set it to {carried}, or remove it")
    try:
        exporting = otel.start_exporting(settings.application, settings.lease.worker_id)
    except ValueError as error:
        mend = "Look at the OTEL_ variables (OpenTelemetry's SDK and OTLP exporter configuration)"
        raise SettingsError("OTEL configuration", None, str(error), mend) from error
    logs.configure(settings.log.level, settings.log.format, moment=otel.ids_of_the_moment)
    try:
        yield otel.SpanTraces(
            exporting.tracer, settings.stream.label, settings.application, settings.traces.field.split(".")
        )
    finally:
        exporting.stop()
