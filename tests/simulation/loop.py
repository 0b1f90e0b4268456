"""An event loop whose time jumps to the next thing that is due: deterministic, and as fast as the machine.

Every callback belongs to a line of execution, which its context names: a process, or one of its threads. A line can be
stopped and goes on later, as a process does after SIGSTOP and SIGCONT: what was due meanwhile waits. What belongs to no
line (the network, the services) never stops.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any

BEGAN_S = 1000.0
"""Time of the loop at its start, so that instants before it exist."""


class Stuck(RuntimeError):
    """Nothing is due and nothing will ever happen."""


class Line:
    """A line of execution."""

    def __init__(self) -> None:
        self.stopped_at: float | None = None
        self.parked: list[Handle] = []
        """What became due while it stood still."""


LINE: ContextVar[Line | None] = ContextVar("LINE", default=None)

OUTSIDE = Context()
"""The context of what no worker runs: the network and the services."""


class Handle:
    """A callback that is due at `when`, or as soon as possible."""

    __slots__ = ("args", "callback", "context", "dead", "when")

    def __init__(self, when: float | None, callback: Callable[..., Any], args: Any, context: Context | None) -> None:
        self.when = when
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.dead = False

    def cancel(self) -> None:
        self.dead = True

    def cancelled(self) -> bool:
        return self.dead


class NumberedTask(asyncio.Task[Any]):
    """Sets of tasks have the same order in every process: hashes are numbers, not addresses."""

    _numbers = count()

    def __init__(self, coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = next(NumberedTask._numbers)
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready, and jumps when nothing is. What a callback raises ends the run."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGAN_S
        self.closing = False
        """What callbacks raise is of no interest any more."""
        self._soon: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._numbers = count()
        self._stopped: set[Line] = set()
        NumberedTask._numbers = count()

    # --- asyncio's own -------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def create_task(self, coro: Any, **options: Any) -> Any:
        return NumberedTask(coro, loop=self, **options)

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = Handle(None, callback, args, context)
        self._soon.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = Handle(when, callback, args, context)
        heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        """The call belongs to the main line of the process, whichever of its threads asks for it."""
        line = LINE.get()
        main = getattr(line, "main", line)
        context = copy_context() if context is None else context
        context.run(LINE.set, main)
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:
        soon = self._soon
        if not soon:
            self._jump()
        for _ in range(len(soon)):
            handle = soon.popleft()
            if handle.dead or (self._stopped and self._park(handle)):
                continue
            try:
                handle.context.run(handle.callback, *handle.args)
            except Exception:
                if not self.closing:
                    raise

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2].dead:
            heappop(timers)
        if not timers:
            raise Stuck("every task waits for another")
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            self._soon.append(heappop(timers)[2])

    # --- lines ---------------------------------------------------------------------------------------------------------

    def stop_line(self, line: Line) -> None:
        """Nothing of it runs from here on."""
        if line.stopped_at is None:
            line.stopped_at = self.now
            self._stopped.add(line)

    def resume_line(self, line: Line, *, timers_stood: bool = False) -> None:
        """It goes on. With `timers_stood` its timers did not run while it stood, as those of a suspended machine."""
        if line.stopped_at is None:
            return
        stopped_at, line.stopped_at = line.stopped_at, None
        self._stopped.remove(line)
        parked, line.parked = line.parked, []
        for handle in parked:
            if timers_stood and handle.when is not None:
                again = self.now + handle.when - stopped_at
                heappush(self._timers, (again, next(self._numbers), handle))
                handle.when = again
            else:
                self._soon.append(handle)

    def _park(self, handle: Handle) -> bool:
        line = handle.context.get(LINE)
        if line is None or line.stopped_at is None:
            return False
        line.parked.append(handle)
        return True
