"""Headless Chromium, driven over its own DevTools protocol: no driver to install, nothing fetched."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
"""Without the network flags it looks up hosts of its maker at every start."""

START_S = 30.0


def program() -> str | None:
    """Where Chromium is, if it is installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@dataclass
class Page:
    """One tab."""

    socket: aiohttp.ClientWebSocketResponse
    complaints: list[str] = field(default_factory=list)
    """What the console said at level error, and exceptions: a page that breaks its own rules says so there."""
    _ids: Any = field(default_factory=count)
    _answers: dict[int, asyncio.Future[Any]] = field(default_factory=dict)

    async def call(self, method: str, **parameters: Any) -> Any:
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        return await self._answers[number]

    async def listen(self) -> None:
        async for message in self.socket:
            said = json.loads(message.data)
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if "error" in said:
                    answer.set_exception(RuntimeError(said["error"]["message"]))
                else:
                    answer.set_result(said["result"])
            elif said["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(said["params"]["exceptionDetails"].get("exception", said)))
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.complaints.append(said["params"]["entry"]["text"])

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    async def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", "no description"))
        return answer["result"].get("value")

    async def until(self, expression: str, within_s: float = 15) -> None:
        """Wait until an expression holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not (await self.ask(f"!!({expression})")):
            if loop.time() > deadline:
                text = await self.ask("document.body.innerText")
                raise AssertionError(f"not within {within_s:g} s: {expression}\n{text}\n{self.complaints}")
            await asyncio.sleep(0.1)

    async def text(self, selector: str) -> str:
        return await self.ask(f"document.querySelector({json.dumps(selector)}).innerText")

    async def click(self, selector: str) -> None:
        await self.ask(f"document.querySelector({json.dumps(selector)}).click()")

    async def fill(self, selector: str, text: str) -> None:
        await self.ask(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(text)}")

    async def resize(self, width: int, height: int, *, scale: float = 1, dark: bool = False) -> None:
        mobile = width < 600
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)  # fmt: skip
        scheme = "dark" if dark else "light"
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def picture(self, path: Path, *, whole: bool = True) -> None:
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))


@contextlib.asynccontextmanager
async def browser(executable: str) -> AsyncIterator[Page]:
    """Chromium with one empty tab."""
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        process = _started(executable, profile)
        try:
            port = await _port(process, Path(profile) / "DevToolsActivePort")
            async with _tab(port) as page:
                yield page
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _started(executable: str, profile: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@contextlib.asynccontextmanager
async def _tab(port: int) -> AsyncIterator[Page]:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"http://127.0.0.1:{port}/json") as answer:
            tab = next(one for one in await answer.json() if one["type"] == "page")
        async with http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            page = Page(socket)
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(page.listen())
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
                listening.cancel()


async def _port(process: subprocess.Popen[bytes], file: Path) -> int:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_S
    while not (lines := _lines(file)):
        assert process.poll() is None, "Chromium ended"
        assert loop.time() < deadline, "Chromium does not start"
        await asyncio.sleep(0.05)
    return int(lines[0])


def _lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []
