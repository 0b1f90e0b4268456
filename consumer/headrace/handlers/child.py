"""The process of a Lambda or batch handler: `python -m headrace.handlers.child SOCKET PARENT`, started by `process`.

A clean interpreter that knows nothing of the worker. It loads the handler, calls it once for each frame that comes, one
at a time, and ends with the stream of frames. Whatever the user's code does to this process is seen by the worker as the
end of the stream, and costs one call.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from headrace.handlers.lambda_context import LambdaContext
from headrace.handlers.lambda_loading import Function, load
from headrace.handlers.lambda_logging import RequestStamp, set_up_logging
from headrace.handlers.lambda_result import marshal
from headrace.handlers.outcomes import Raised, Returned, Unserializable
from headrace.handlers.wire import (
    LENGTH,
    BatchCall,
    Call,
    FromChild,
    Load,
    Ready,
    Unusable,
    frame,
    length_of,
    to_child,
)

PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""

KILLED_RATHER: Final = 500
"""Added to oom_score_adj (0 to 1000, proc(5)): short of memory, the kernel ends this process and not the worker."""

LONGEST_MESSAGE: Final = 10_000
LONGEST_TRACEBACK: Final = 50_000
"""Characters; an exception may quote a whole batch, and ends in a dead letter of limited size."""


class Channel:
    """The child's end of the socket pair."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # what the user's code starts must not hold the stream open
        self._socket = socket.socket(fileno=descriptor)
        self._incoming = self._socket.makefile("rb")
        self._owner = os.getpid()

    def messages(self) -> Iterator[Load | Call | BatchCall]:
        """One after the other, until the worker ends the stream."""
        while prefix := self._incoming.read(LENGTH.size):
            yield to_child.decode(self._incoming.read(length_of(prefix)))

    def send(self, message: FromChild) -> None:
        """Answer; a fork of this process that came back from the user's code must not, and ends."""
        if os.getpid() != self._owner:
            os._exit(0)
        self._socket.sendall(frame(message))

    def close(self) -> None:
        """The worker need not wait for the threads that may keep this process from ending."""
        if os.getpid() == self._owner:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def main(descriptor: int, parent: int) -> None:
    """Serve the worker `parent` over the socket `descriptor` until either ends."""
    _die_with(parent)
    _heed_the_worker_alone()
    channel = Channel(descriptor)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            _serve(channel)
    finally:
        channel.close()


def _serve(channel: Channel) -> None:
    messages = channel.messages()
    for order in messages:
        if not isinstance(order, Load):
            raise TypeError(f"{type(order).__name__} before Load")
        stamp = _furnish()
        run = _runner(order, stamp)
        if isinstance(run, Unusable):
            channel.send(run)
            return
        channel.send(Ready())
        for call in messages:
            if isinstance(call, Call | BatchCall):
                channel.send(run(call))


def _runner(order: Load, stamp: RequestStamp) -> Callable[[Any], FromChild] | Unusable:
    if order.takes_batches:
        from headrace.handlers.batch_function import load_batch  # noqa: PLC0415 - a Lambda handler pays for none of it

        answer = load_batch(order.handler, _raised)
        return answer if isinstance(answer, Unusable) else partial(_stamped, stamp, answer)
    function = load(order.handler, os.environ["LAMBDA_TASK_ROOT"])
    if isinstance(function, Unusable):
        return function
    return partial(_stamped, stamp, partial(_answer, function, order.function_arn))


def _stamped(stamp: RequestStamp, answer: Callable[[Any], FromChild], call: Call | BatchCall) -> FromChild:
    """What the user's code logs in the meantime names the call."""
    stamp.request_id = call.request_id
    try:
        return answer(call)
    finally:
        stamp.request_id = ""


def _answer(function: Function, arn: str, call: Call) -> Returned | Raised | Unserializable:
    """Call the handler. What is no Exception (SystemExit, KeyboardInterrupt) ends the process, as in Lambda."""
    context = LambdaContext(call.request_id, arn, call.limit_s)
    os.environ["_X_AMZN_TRACE_ID"] = _unsampled_trace()
    try:
        return marshal(function(json.loads(call.event), context))
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        return _raised(error)


def _raised(error: Exception) -> Raised:
    theirs = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, theirs))
    message = _message(error)[:LONGEST_MESSAGE]
    trace = _sendable(text[-LONGEST_TRACEBACK:])
    return Raised(type(error).__name__, _sendable(message), trace, isinstance(error, MemoryError))


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's exception may fail to describe itself
        return "<exception str() failed>"


def _sendable(text: str) -> str:
    """Lone surrogates have no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _unsampled_trace() -> str:
    """As Lambda sets it where tracing is off. Without one, the X-Ray SDK warns of every segment that it cannot place."""
    fresh = uuid.uuid4().hex
    return f"Root=1-{fresh[:8]}-{fresh[8:]};Parent={fresh[:16]};Sampled=0"


# --- the house for the user's code ------------------------------------------------------------------------------------


def _furnish() -> RequestStamp:
    """Arguments, module path, output and log as user code expects them, whatever is imported from now on."""
    del sys.argv[1:]
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    for stream in (sys.stdout, sys.stderr):
        _line_by_line(stream)
    version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "")
    stream_name = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{uuid.uuid4().hex}"
    os.environ.setdefault("AWS_LAMBDA_LOG_STREAM_NAME", stream_name)
    return set_up_logging()


def _line_by_line(stream: Any) -> None:
    stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _die_with(parent: int) -> None:
    """Be killed when the worker is gone, also in the middle of a call; and before the worker when memory runs out."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        score = Path("/proc/self/oom_score_adj")
        with suppress(OSError, ValueError):
            score.write_text(str(min(1000, int(score.read_text()) + KILLED_RATHER)))
    if os.getppid() != parent:
        os._exit(0)  # it went before the request took effect


def _heed_the_worker_alone() -> None:
    """A service manager may send its signals to every process of a service. The worker decides, by ending the stream.

    Not SIG_IGN: that would be inherited by every program that the user's code starts.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _nothing)


def _nothing(*_: object) -> None:
    return None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
