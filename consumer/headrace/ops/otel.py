"""Traces by OpenTelemetry: implements `headrace.traces`. Imported only where tracing is on.

A batch is a span of the messaging conventions (semantic conventions 1.4x, "Messaging spans", operation type `process`), with a
link to each trace context found in its records: a batch has many producers, and so no one parent. Where spans go, how many
and under which names is OpenTelemetry's own configuration (OTEL_...).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Token
from dataclasses import dataclass
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import structlog
from opentelemetry import context as contexts
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import headrace
from headrace.model import Record
from headrace.traces import FLUSH_S, Trace

log = structlog.get_logger(__name__)

MOST_LINKS: Final = 128
"""OpenTelemetry's own limit (OTEL_SPAN_LINK_COUNT_LIMIT): more would be thrown away."""

_CURRENT: Final = contexts.create_key("headrace-trace")
_W3C: Final = TraceContextTextMapPropagator()


class SpanTrace:
    """Implements `traces.Trace` with a span."""

    def __init__(self, tracer: Tracer, span: Span, whole: SpanTrace | None = None) -> None:
        self.span = span
        self._tracer = tracer
        self._whole = whole
        self._entered: Token[Context] | None = None

    @property
    def context(self) -> Context:
        """Where it is the current one."""
        return contexts.set_value(_CURRENT, self, otel.set_span_in_context(self.span))

    def __enter__(self) -> Self:
        """Make it the current one."""
        self._entered = contexts.attach(self.context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End it, as a failure if anything but a cancellation was raised."""
        if self._entered is not None:
            contexts.detach(self._entered)
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self.fail(type(error).__name__)
        self.end()

    @contextmanager
    def here(self) -> Iterator[None]:
        """Make it the current one for a while."""
        token = contexts.attach(self.context)
        try:
            yield
        finally:
            contexts.detach(token)

    def begin(self, part: str) -> SpanTrace:
        """A part of it."""
        span = self._tracer.start_span(part, self.context, SpanKind.INTERNAL)
        return SpanTrace(self._tracer, span, self)

    @property
    def whole(self) -> SpanTrace:
        """What it is a part of, or itself."""
        return self if self._whole is None else self._whole

    def fail(self, error: str) -> None:
        """It failed, and so did what it is a part of."""
        for one in {self, self.whole}:
            if one.span.is_recording():
                one.span.set_attribute("error.type", error)
                one.span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """The first time counts."""
        if self.span.is_recording():
            self.span.end()


@dataclass(frozen=True, slots=True)
class SpanTraces:
    """Implements `traces.Traces`. `field` is where a JSON payload holds the `traceparent` of whoever produced it."""

    tracer: Tracer
    stream: str
    application: str
    field: Sequence[str] = ("traceparent",)

    def batch(self, records: Sequence[Record]) -> SpanTrace:
        """A span of its own trace, linked to those of the records."""
        span = self.tracer.start_span(f"process {self.stream}", Context(), SpanKind.CONSUMER)
        if span.is_recording():
            span.set_attributes(self._facts(records))
            for linked in linked_contexts(records, self.field):
                span.add_link(linked)
        return SpanTrace(self.tracer, span)

    def current(self) -> SpanTrace | None:
        """The one that is current here."""
        found = contexts.get_value(_CURRENT)
        return found if isinstance(found, SpanTrace) else None

    def request(self, service: str, operation: str, of: Iterable[Trace | None]) -> SpanTrace:
        """A client's span below the first of them, linked to the others."""
        ours = [one for one in of if isinstance(one, SpanTrace)]
        span = self.tracer.start_span(
            f"{service}.{operation}",
            ours[0].context if ours else Context(),
            SpanKind.CLIENT,
            {"rpc.system.name": "aws-api", "rpc.service": service, "rpc.method": operation},
            [Link(one.span.get_span_context()) for one in ours[1:]],
        )
        return SpanTrace(self.tracer, span)

    def _facts(self, records: Sequence[Record]) -> Mapping[str, str | int]:
        facts: dict[str, str | int] = {
            "messaging.system": "aws_kinesis",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self.stream,
            "messaging.consumer.group.name": self.application,
            "messaging.batch.message_count": len(records),
            "aws.kinesis.stream_name": self.stream,
        }
        if records:
            first, last = records[0], records[-1]
            facts["messaging.destination.partition.id"] = first.shard_id
            facts["headrace.first_sequence_number"] = str(first.sequence_number)
            facts["headrace.last_sequence_number"] = str(last.sequence_number)
            if first.attempt > 1:
                facts["headrace.attempt"] = first.attempt
        return facts


# --- links ------------------------------------------------------------------------------------------------------------


def linked_contexts(records: Iterable[Record], path: Sequence[str]) -> Collection[SpanContext]:
    """The trace contexts in the payloads, each once, as many as a span takes. Payloads without one are passed over."""
    name, found = path[-1].encode(), dict[tuple[int, int], SpanContext]()
    for record in records:
        if name in record.data and (linked := _context_of(record.data, path)) is not None:
            found[linked.trace_id, linked.span_id] = linked
            if len(found) == MOST_LINKS:
                break
    return found.values()


def _context_of(data: bytes, path: Sequence[str]) -> SpanContext | None:
    try:
        holder: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for name in path[:-1]:
        holder = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or not isinstance(parent := holder.get(path[-1]), str):
        return None
    carrier = {"traceparent": parent}
    if isinstance(state := holder.get("tracestate"), str):
        carrier["tracestate"] = state
    linked = otel.get_current_span(_W3C.extract(carrier, Context())).get_span_context()
    return linked if linked.is_valid else None


# --- process ----------------------------------------------------------------------------------------------------------


def ids_of_the_moment() -> Mapping[str, str]:
    """What a log line says of the span that it is written in."""
    current = otel.get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    return {"trace_id": otel.format_trace_id(current.trace_id), "span_id": otel.format_span_id(current.span_id)}


class _Causes(logging.Handler):
    """Takes what the exporter logs of its tries, several lines of its own a failure, and keeps what was wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """An error by its class alone: its text names addresses and differs each time."""
        told = record.args if isinstance(record.args, tuple) else ()
        errors = [type(one).__name__ for one in told if isinstance(one, Exception)]
        self.last = errors[0] if errors else self.last or record.getMessage().partition(", retrying")[0]


class TellingExporter(OTLPSpanExporter):
    """Exports, and tells of spans that were thrown away as everything else here is told: one event, collapsed."""

    def __init__(self) -> None:
        super().__init__()
        self._causes = _Causes()
        lines = logging.getLogger(OTLPSpanExporter.__module__)
        lines.handlers, lines.propagate = [self._causes], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        self._causes.last = ""
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            log.warning("spans_not_exported", spans=len(spans), error=self._causes.last)
        return result


@dataclass(frozen=True, slots=True)
class Exporting:
    """Spans on their way out of this process. `is_ours` tells that nobody else set OpenTelemetry up before."""

    provider: TracerProvider
    is_ours: bool

    @property
    def tracer(self) -> Tracer:
        """What spans are begun with."""
        return self.provider.get_tracer("headrace", headrace.__version__)

    def stop(self) -> None:
        """Send what is left, within `FLUSH_S`: a collector that is away must not hold up a stop."""
        if self.is_ours:
            last = Thread(target=self.provider.shutdown, name="last-spans", daemon=True)
            last.start()
            last.join(FLUSH_S)


def start_exporting(application: str, worker: str) -> Exporting:
    """Begin to export over OTLP, as the environment says; spans of user code go the same way.

    Where OpenTelemetry was set up already (`opentelemetry-instrument`), it stays as it is. Raises ValueError for a variable
    that cannot be read.
    """
    if isinstance(there := otel.get_tracer_provider(), TracerProvider):
        return Exporting(there, is_ours=False)
    own = {"service.name": application, "service.version": headrace.__version__, "service.instance.id": worker}
    resource = Resource.create(own).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(TellingExporter()))
    otel.set_tracer_provider(provider)
    return Exporting(provider, is_ours=True)
