"""`headrace health`: what the image and the compose file ask every few seconds."""

import http.server
import os
import threading

import pytest

from headrace.cli import main


class Worker(http.server.BaseHTTPRequestHandler):
    """Answers as a worker that lives and is not ready."""

    def do_GET(self):
        body = b'{"ok":true}' if self.path == "/livez" else b'{"ok":false}'
        self.send_response(200 if self.path == "/livez" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Nothing to standard error."""


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """The least settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    for name in ("APPLICATION", "STREAM_NAME", "SINK_TABLE"):
        monkeypatch.setenv(f"HEADRACE_{name}", f"my-{name}".lower())


@pytest.fixture
def port():
    """Where a worker answers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Worker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_worker_that_answers_is_well(port, capsys):
    """The engine reads the exit code, a person what is printed."""
    assert main(["health", "--ops.port", str(port)]) == 0
    assert capsys.readouterr().out == '{"ok":true}\n'


def test_one_that_listens_everywhere_is_asked_on_this_machine(port):
    """No address of another machine is needed; 0.0.0.0 itself cannot be asked everywhere."""
    assert main(["health", "--ops.port", str(port), "--ops.address", "0.0.0.0"]) == 0


def test_one_that_is_not_ready_says_so_and_fails(port, capsys):
    """For scripts that wait."""
    assert main(["health", "--ready", "--ops.port", str(port)]) == 1
    assert capsys.readouterr().err == '{"ok":false}\n'


def test_no_worker_is_not_well_and_the_reason_is_one_line(port, capsys):
    """A refused connection is an answer, not a traceback."""
    with http.server.HTTPServer(("127.0.0.1", 0), Worker) as server:
        free = server.server_port
    assert main(["health", "--ops.port", str(free)]) == 1
    assert f"no answer at 127.0.0.1:{free}/livez" in capsys.readouterr().err


def test_any_free_port_cannot_be_asked(capsys):
    """Only the log of the worker tells it."""
    assert main(["health", "--ops.port", "0"]) == 2
    assert "HEADRACE_OPS_PORT" in capsys.readouterr().err
