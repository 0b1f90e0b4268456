"""The worker's HTTP port."""

import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from headrace.errors import SettingsError
from headrace.ops.endpoints import Answers, serve


class Worker:
    """Answers whatever a test sets."""

    def __init__(self):
        self.alive, self.ready = (True, {"heartbeat_age_s": 0.5}), (False, {"reason": "starting"})
        self.registry = CollectorRegistry()
        Counter("things_total", "Things.", registry=self.registry).inc()

    def answers(self):
        return Answers(
            alive=lambda: self.alive,
            ready=lambda: self.ready,
            status=lambda: {"shards": [{"shard_id": "s"}]},
            registry=self.registry,
        )


async def get(port, path, **headers):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as response,
    ):
        return response.status, response.headers.get("Content-Type"), await response.text()


async def test_liveness_and_readiness_are_asked_at_each_request():
    """200 while it holds, 503 while it does not, with the facts."""
    worker = Worker()
    async with serve(worker.answers(), address="127.0.0.1", port=0) as port:
        assert await get(port, "/livez") == (200, "application/json", '{"ok":true,"heartbeat_age_s":0.5}')
        assert await get(port, "/readyz") == (503, "application/json", '{"ok":false,"reason":"starting"}')
        worker.alive, worker.ready = (False, {}), (True, {})
        assert (await get(port, "/livez"))[0] == 503
        assert (await get(port, "/readyz"))[0] == 200


async def test_metrics_are_exposed_in_both_formats():
    """Prometheus' text, and OpenMetrics to whoever asks for it."""
    async with serve(Worker().answers(), address="127.0.0.1", port=0) as port:
        status, kind, text = await get(port, "/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert "things_total 1.0" in text
        _, kind, text = await get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")


async def test_status_is_json_and_the_rest_is_not_there():
    """Only reading, only what is listed."""
    async with serve(Worker().answers(), address="127.0.0.1", port=0) as port:
        assert await get(port, "/api/v1/status") == (200, "application/json", '{"shards":[{"shard_id":"s"}]}')
        assert (await get(port, "/"))[0] == 404


async def test_a_port_in_use_is_a_mistake_in_the_settings():
    """One line under the setting's name, instead of a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match=rf"^HEADRACE_OPS_PORT = {taken.getsockname()[1]}: is in use"):
            async with serve(Worker().answers(), address="127.0.0.1", port=taken.getsockname()[1]):
                pass


async def test_an_address_of_another_machine_is_a_mistake_in_the_settings():
    """192.0.2.0/24 is nobody's (RFC 5737)."""
    with pytest.raises(SettingsError, match=r"^HEADRACE_OPS_ADDRESS = '192\.0\.2\.1': is no address of this machine"):
        async with serve(Worker().answers(), address="192.0.2.1", port=0):
            pass


async def test_the_port_is_free_again_after_the_context():
    """A restart in the same place works at once."""
    async with serve(Worker().answers(), address="127.0.0.1", port=0) as port:
        pass
    async with serve(Worker().answers(), address="127.0.0.1", port=port) as again:
        assert again == port
