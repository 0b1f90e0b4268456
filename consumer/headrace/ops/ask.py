"""Asking a worker over its HTTP port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec

EXPLAIN: Final = "/api/v1/explain"
STATUS: Final = "/api/v1/status"

PATIENCE_S: Final = 2.0
"""How long an answer is waited for; a worker whose loop a handler holds up answers late."""


async def ask_about(address: str, question: Mapping[str, str]) -> dict[str, Any] | str:
    """What the worker at host:port does with a record; why it cannot be asked, where it cannot."""
    return await ask(address, EXPLAIN, question)


async def ask(address: str, path: str, question: Mapping[str, str]) -> dict[str, Any] | str:
    """What a worker answers as JSON; why it cannot be asked, where it cannot."""
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            aiohttp.ClientSession(trust_env=False) as http,
            http.get(f"http://{address}{path}", params=question) as answer,
        ):
            if answer.status != 200:  # noqa: PLR2004 - HTTP's own number
                return f"it answers with status {answer.status}"
            return msgspec.json.decode(await answer.read(), type=dict[str, Any])
    except TimeoutError:
        return f"it does not answer within {PATIENCE_S:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
