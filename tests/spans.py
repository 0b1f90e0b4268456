"""Spans in memory, for tests of what is traced."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from headrace.ops.otel import SpanTraces

PARENTS = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 400)]
"""Trace contexts of producers."""


class Recorded:
    """What was traced, as it would be exported."""

    def __init__(self, field=("traceparent",), **provider):
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **provider)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")
        self.traces = SpanTraces(self.tracer, "stream", "readings-writer", field)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def parts_of(self, span) -> list[str]:
        """Names of the spans right below one."""
        return [one.name for one in self.spans if one.parent is not None and one.parent.span_id == span.context.span_id]


def linked(span) -> list[str]:
    """The contexts that a span is linked to, as a producer writes them."""
    return [f"00-{link.context.trace_id:032x}-{link.context.span_id:016x}-01" for link in span.links]
