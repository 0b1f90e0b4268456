"""The main path on LocalStack in a container, where a Docker engine answers."""

from __future__ import annotations

import gc
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import docker
import pytest
from docker.errors import DockerException
from testcontainers.community.localstack import LocalStackContainer

pytestmark = [pytest.mark.process, pytest.mark.servers]

IMAGE = "localstack/localstack:4.14.0"
"""The last tag that needs no account."""


@dataclass(frozen=True)
class Container:
    """What a stage needs of a server."""

    endpoint: str


@pytest.fixture(scope="module")
def localstack() -> Iterator[Container]:
    """A running LocalStack."""
    if (trouble := _docker_trouble()) is not None:
        pytest.skip(f"no Docker engine answers here: {trouble}")
    with LocalStackContainer(image=IMAGE).with_services("kinesis", "dynamodb") as container:
        yield Container(container.get_url())


def _docker_trouble() -> str | None:
    """Why there is no engine; the client leaves its socket open when it cannot connect."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            docker.from_env().ping()
        except DockerException as error:
            return str(error)
        finally:
            gc.collect()
    return None


async def test_a_worker_reads_writes_and_stops_on_localstack_too(stage, localstack):
    """The stack that most teams have on their laptops."""
    async with stage(shards=2, kinesis=localstack, dynamodb=localstack) as s:
        await s.put(0, 200)
        worker = s.start()
        await worker.ready()
        await s.all_written(200)
        worker.send(signal.SIGTERM)

        assert await worker.exit_code(within_s=10) == 0
        assert all("own" not in row for row in await s.leases())
