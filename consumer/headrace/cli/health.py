"""Asks the worker of this machine whether it is alive or ready: the health check of an image that has no curl.

It starts every few seconds for as long as a container lives, so it imports next to nothing.
"""

from __future__ import annotations

import http.client
from typing import Final

from headrace.errors import SettingsError
from headrace.settings import Settings

TIMEOUT_S: Final = 3.0
"""Every answer takes milliseconds; one that takes seconds comes from a loop that stands still."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask, not where to listen
"""Where a worker is to be found that listens on every address."""


def health(settings: Settings, path: str) -> tuple[bool, str]:
    """Whether the worker at this machine's ops port answers `path` with 200, and what it said.

    Raises SettingsError where the port is any free one, which only the worker's log names.
    """
    address, port = settings.ops.address, settings.ops.port
    if port == 0:
        raise SettingsError("HEADRACE_OPS_PORT", port, "names no port to ask at", "Set the port the worker listens on")
    connection = http.client.HTTPConnection(_EVERYWHERE.get(address, address), port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == http.HTTPStatus.OK, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer at {address}:{port}{path}: {error}"
    finally:
        connection.close()
