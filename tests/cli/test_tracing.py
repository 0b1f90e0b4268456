"""Tracing switched on and off, and what is told where it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headrace.cli.run import _drain_s
from headrace.cli.tracing import open_traces
from headrace.errors import SettingsError
from headrace.settings import Settings
from headrace.traces import FLUSH_S

GIVEN = {"application": "readings", "stream": {"name": "readings"}, "sink": {"table": "readings-results"}}


def settings(*, enabled):
    return Settings(**GIVEN, traces={"enabled": enabled})


def test_where_tracing_is_off_there_are_no_traces():
    """The flow then has one None to look at."""
    with open_traces(settings(enabled=False)) as traces:
        assert traces is None


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "Set it to http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "Set it to http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "Set it to otlp"),
    ],
)
def test_a_standard_variable_that_would_be_ignored_is_refused(monkeypatch, name, value, mend):
    """Spans that go nowhere are noticed when they are needed."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=mend), open_traces(settings(enabled=True)):
        pytest.fail("it began")


@pytest.mark.process
def test_the_start_of_a_worker_imports_nothing_of_opentelemetry():
    """It would cost every worker a tenth of a second and 20 MB."""
    code = "import headrace.cli.run, sys; assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.process
@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.exporter.otlp.proto.http.trace_exporter"])
def test_without_the_extra_one_line_says_what_to_install(missing):
    """Exit code 2 and no traceback, also where only a part of it is there."""
    code = f"import sys; sys.modules[{missing!r}] = None; from headrace.cli import main; sys.argv = ['headrace', 'run']; sys.exit(main())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HEADRACE_"))}
    environment |= {
        "HEADRACE_APPLICATION": "readings",
        "HEADRACE_STREAM_NAME": "readings",
        "HEADRACE_SINK_TABLE": "readings-results",
        "HEADRACE_TRACES_ENABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=30, capture_output=True, env=environment, text=True
    )
    assert done.returncode == 2
    assert done.stdout + done.stderr == (
        f"HEADRACE_TRACES_ENABLED = 'true': needs OpenTelemetry, and {missing} is not installed. "
        "Install headrace[otel], or switch it off\n"
    )


def test_the_last_spans_have_their_time_within_that_of_the_stop():
    """Else a stop in order, with a collector that is away, would end as overdue."""
    assert _drain_s(settings(enabled=False)) - _drain_s(settings(enabled=True)) == FLUSH_S
