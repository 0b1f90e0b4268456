"""Processes of a Lambda or batch handler, each with one call at a time; a process that ends is replaced.

Lambda never runs two calls at once in one environment, and handlers rely on it: module state is safe here as well. A call
that raises leaves its process as it is. One that crashes it, runs out of time or is cancelled costs the process, which
another one replaces at once; only a process that ends without being called makes the next one wait, longer each time.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, assert_never

import structlog

from headrace.core.backoff import Backoff, delay_s
from headrace.errors import NotCalled, SettingsError
from headrace.handlers.function import FORM, HandlerFunction, environment, split_name
from headrace.handlers.outcomes import Answer, Crashed, Raised, TimedOut, error_of
from headrace.handlers.process import HandlerProcess, NotInvoked
from headrace.handlers.wire import BatchCall, Call, Ready, Unusable, frame
from headrace.tasks import all_of

log = structlog.get_logger(__name__)

SETTING: Final = "HEADRACE_HANDLER"

REPLACEMENT: Final = Backoff(first_s=0.2, cap_s=20.0)
"""Before another process, after processes that ended without a call: about the cost of a start, up to what an operator waits."""

LOOK_S: Final = 5.0
"""Between two looks, while waiting for a process, at whether there is one to wait for."""

MOST_TRIES: Final = 3
"""Processes that may be gone before they have an event; then it is taken to be the event that ends them."""


@dataclass(frozen=True, slots=True)
class PoolRules:
    """`size` processes; a handler may take `start_s` to import, and all of them together `close_s` to end."""

    size: int = 1
    start_s: float = 60.0
    close_s: float = 2.0


@asynccontextmanager
async def open_pool(
    function: HandlerFunction, rules: PoolRules, chance: Callable[[], float]
) -> AsyncIterator[HandlerPool]:
    """A pool whose first process is ready; `chance` gives random numbers in [0, 1). Raises SettingsError.

    Open it on the main thread: the processes die with the thread that starts them. Calls under way when the block ends
    have `close_s` to finish; none may come after it.
    """
    if split_name(function.handler) is None:
        raise SettingsError(SETTING, function.handler, "names no function", FORM)
    pool = HandlerPool(function, rules, chance)
    async with pool.running():
        yield pool


class HandlerPool:
    """Calls a handler in one of its processes."""

    def __init__(self, function: HandlerFunction, rules: PoolRules, chance: Callable[[], float]) -> None:
        self._function = function
        self._rules = rules
        self._chance = chance
        self._environment = environment(function, os.environ)
        self._idle: asyncio.Queue[HandlerProcess] = asyncio.Queue()
        self._processes: set[HandlerProcess] = set()
        self._problem = ""
        """Why the last replacement could not be used."""
        self.replaced = 0
        """How many processes ended and had to be replaced."""

    async def call(self, event: bytes, request_id: str | None = None) -> Answer:
        """Call a Lambda handler with an event (JSON, UTF-8) as soon as a process is free. The request id is fresh unless given.

        The time limit counts from then on. Cancelling this kills the process: its work may be half done. Raises NotCalled
        while no process can be made that loads the handler, ValueError for a call of more than `wire.LARGEST` bytes.
        """
        return await self._call(Call(request_id or str(uuid.uuid4()), self._function.limit_s, event))

    async def call_batch(self, records: bytes, request_id: str) -> Answer:
        """Likewise a batch handler, with pickled records."""
        return await self._call(BatchCall(request_id, self._function.limit_s, records))

    async def _call(self, call: Call | BatchCall) -> Answer:
        message = frame(call)
        for _ in range(MOST_TRIES):
            process = await self._free_process()
            with suppress(NotInvoked):
                answer = await process.call(message, call.limit_s)
                self._put_back(process, answer)
                return answer
        return Crashed()

    async def _free_process(self) -> HandlerProcess:
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    process = await self._idle.get()
            except TimeoutError:
                self._insist()
            else:
                if process.is_alive:
                    return process

    def _insist(self) -> None:
        """Raises NotCalled where no process is there, and none could be made."""
        if self._problem and not any(process.is_of_use for process in self._processes):
            raise NotCalled(f"no process of the handler can be made: {self._problem}")

    def _put_back(self, process: HandlerProcess, answer: Answer) -> None:
        if isinstance(answer, Raised) and answer.was_out_of_memory:
            process.kill()  # what filled its memory is likely to be there still
        if process.is_alive:
            self._idle.put_nowait(process)

    # --- the processes ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the processes for as long as the block lasts. Raises SettingsError when the handler cannot be used."""
        try:
            first = await self._first()
            async with all_of() as tasks:
                seats = [first, *[None] * (self._rules.size - 1)]
                keeping = [tasks.create_task(self._keep(one), name=f"handler-{n}") for n, one in enumerate(seats)]
                yield
                for task in keeping:
                    task.cancel()
        finally:
            await self._end_all()

    async def _first(self) -> HandlerProcess:
        try:
            started = await self._start()
        except OSError as error:
            started = Unusable(
                f"its process cannot be started: {error.strerror}", "Allow more processes, or fewer of them"
            )
        if isinstance(started, Unusable):
            raise SettingsError(SETTING, self._function.handler, started.problem, started.mend)
        return started

    async def _start(self) -> HandlerProcess | Unusable:
        process = await HandlerProcess.start(self._function, self._environment)
        self._processes.add(process)
        loaded = await process.ready(self._rules.start_s)
        if isinstance(loaded, Ready):
            self._idle.put_nowait(process)
            return process
        await self._bury(process)
        return _unusable(loaded)

    async def _keep(self, process: HandlerProcess | None) -> None:
        """One process after the other, beginning with this one."""
        in_a_row = 0
        while True:
            if process is not None:
                in_a_row = await self._outlive(process, in_a_row)
            await asyncio.sleep(delay_s(in_a_row, self._chance(), REPLACEMENT) if in_a_row else 0)
            process = await self._replacement()
            in_a_row += process is None

    async def _outlive(self, process: HandlerProcess, in_a_row: int) -> int:
        """Wait for its end; how many in a row have ended now without having been of use."""
        end = await self._bury(process)
        self.replaced += 1
        log.warning("lambda_process_ended", pid=process.pid, exit_code=end.exit_code, signal=end.signal)
        if not process.ended_idle:
            return 0
        return 1 if process.answered else in_a_row + 1

    async def _replacement(self) -> HandlerProcess | None:
        try:
            started = await self._start()
        except OSError as error:
            log.exception("lambda_process_not_started", error=error.strerror)
            self._problem = f"it cannot be started: {error.strerror}"
            return None
        if isinstance(started, Unusable):
            log.error("lambda_handler_unusable", handler=self._function.handler, problem=started.problem)
            self._problem = started.problem
            return None
        self._problem = ""
        log.info("lambda_process_started", pid=started.pid)
        return started

    async def _bury(self, process: HandlerProcess) -> Crashed:
        end = await process.ended()
        self._processes.discard(process)
        return end

    async def _end_all(self) -> None:
        """Those in a call may finish it; those that do not end in time are killed."""
        for process in self._processes:
            process.dismiss()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rules.close_s):
                    for process in [*self._processes]:
                        await self._bury(process)
        finally:
            for process in self._processes:
                process.kill()
        for process in [*self._processes]:
            await self._bury(process)


def _unusable(loaded: Unusable | Crashed | TimedOut) -> Unusable:
    """Why a process never was ready."""
    match loaded:
        case Unusable():
            return loaded
        case TimedOut():
            return Unusable(f"was not imported within {loaded.after_s:g} s", "Do less when the module is imported")
        case Crashed():
            return Unusable(f"ended its process while it was imported: {error_of(loaded)[1]}", "Mend the module")
        case _:
            assert_never(loaded)
