"""One child process of a Lambda or batch handler, seen from the worker.

It is a process and not a thread so that whatever the user's code does to it costs one call, and it is a new interpreter
and not a fork so that nothing of the worker is in it. It leads a session of its own: a terminal's Ctrl-C does not reach
it, and what it started itself can be ended with it. Both its outputs are the worker's standard error, unchanged: they
are the user's words and none of headrace's log lines, nothing has to be read for the user's code to go on, and what is
written just before a crash is not lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from headrace.handlers.function import HandlerFunction
from headrace.handlers.outcomes import Answer, Crashed, TimedOut
from headrace.handlers.wire import (
    LENGTH,
    FromChild,
    Load,
    Ready,
    ToChild,
    Unusable,
    frame,
    from_child,
    length_of,
)

STANDARD_ERROR: Final = 2

LAST_BREATH_S: Final = 1.0
"""From the end of the stream to the end of the process that ended it: exit handlers may run, threads may not linger."""


class NotInvoked(Exception):  # noqa: N818 - never leaves the pool
    """The process was gone before it had the whole event: the handler was not called.

    The kernel tells: a send fails, and so does a receive if the other side went with anything unread (unix(7)).
    """


class HandlerProcess:
    """A process, its end of the socket pair, and whether it is in the middle of a call."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self._process = process
        self._socket = ours
        self._is_calling = False
        self._was_killed = False
        self._is_loaded = False
        self.answered = 0
        """How many calls it answered."""
        self.ended_idle = False
        """Whether it ended by itself, and not in a call."""

    @classmethod
    async def start(cls, function: HandlerFunction, environment: Mapping[str, str]) -> HandlerProcess:
        """Start one; `ready` tells what came of it. It dies with the thread that calls this. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *_command(theirs.fileno()),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=STANDARD_ERROR,
                stderr=STANDARD_ERROR,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        started = cls(process, ours)
        arn = function.arn(environment["AWS_LAMBDA_FUNCTION_NAME"])
        started._tell(Load(function.handler, arn, function.takes_batches))
        return started

    @property
    def pid(self) -> int:
        """Its process id, and that of its session."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be called, as far as anybody knows."""
        return self._process.returncode is None and not self._was_killed

    @property
    def is_of_use(self) -> bool:
        """Whether it can be called, now or after the call it is in."""
        return self._is_loaded and self.is_alive

    async def ready(self, limit_s: float) -> Ready | Unusable | Crashed | TimedOut:
        """Wait until the handler is loaded. A process that does not get there is killed."""
        answer = await self._answer_within(limit_s)
        self._is_loaded = isinstance(answer, Ready)
        if not self._is_loaded:
            self.kill()
        if isinstance(answer, Ready | Unusable | Crashed | TimedOut):
            return answer
        raise TypeError(f"{type(answer).__name__} before any call")

    async def call(self, message: bytes, limit_s: float) -> Answer:
        """Call the handler with the frame of a call; one at a time. Raises NotInvoked.

        Cancelling this kills the process, as a call that does not answer in time does.
        """
        if not self.is_alive:
            raise NotInvoked
        answer = await self._answer_within(limit_s, message)
        if isinstance(answer, Ready | Unusable):
            raise TypeError(f"{type(answer).__name__} for an answer")
        self.answered += 1
        return answer

    async def _answer_within(self, limit_s: float, message: bytes | None = None) -> FromChild | Crashed | TimedOut:
        self._is_calling = True
        has_answered = False
        try:
            async with asyncio.timeout(limit_s):
                if message is not None:
                    await asyncio.get_running_loop().sock_sendall(self._socket, message)
                answer = await self._receive()
            has_answered = True
        except TimeoutError:
            return TimedOut(limit_s)
        except ConnectionError as error:
            if message is not None:
                raise NotInvoked from error
            return await self._crash()
        except (EOFError, ValueError):
            return await self._crash()
        else:
            return answer
        finally:
            self._is_calling = False
            if not has_answered:
                self.kill()
            if self._process.returncode is not None:
                self._socket.close()

    # --- the stream ---------------------------------------------------------------------------------------------------

    def _tell(self, message: ToChild) -> None:
        """Send what is sure to fit into the socket's buffer; a process that is gone already is found out later."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(frame(message))

    async def _receive(self) -> FromChild:
        prefix = await self._exactly(LENGTH.size)
        try:
            return from_child.decode(await self._exactly(length_of(prefix)))
        except msgspec.DecodeError as error:
            raise ValueError("not a message") from error

    async def _exactly(self, count: int) -> bytearray:
        loop = asyncio.get_running_loop()
        buffer = bytearray(count)
        rest = memoryview(buffer)
        while rest:
            received = await loop.sock_recv_into(self._socket, rest)
            if not received:
                raise EOFError
            rest = rest[received:]
        return buffer

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _crash(self) -> Crashed:
        """How it ended, or how it is ended when nothing but its stream did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_BREATH_S):
                return _crash(await self._process.wait())
        self.kill()
        return _crash(await self._process.wait())

    async def ended(self) -> Crashed:
        """Wait for the end of the process, then see to it that nothing of it is left.

        A program that it started may hold its end of the stream open: an answer that is being waited for ends here.
        """
        code = await self._process.wait()
        self.ended_idle = not (self._was_killed or self._is_calling)
        self.kill()
        if self._is_calling:
            self._socket.shutdown(socket.SHUT_RDWR)  # what was sent before the end can still be read
        else:
            self._socket.close()
        return _crash(code)

    def dismiss(self) -> None:
        """End the stream: after the call it is in, if any, the process ends by itself."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """At once, with whatever it started."""
        self._was_killed = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _command(descriptor: int) -> list[str]:
    """A clean interpreter: -P keeps modules of the working directory out until headrace's own are imported."""
    module = "headrace.handlers.child"
    return [sys.executable, "-P", "-X", "faulthandler", "-m", module, str(descriptor), str(os.getpid())]


def _crash(code: int) -> Crashed:
    if code >= 0:
        return Crashed(exit_code=code)
    known = {number.value: number.name for number in signal.Signals}  # real-time signals have no names
    return Crashed(signal=known.get(-code, str(-code)))
