"""A plain batch handler, `def handle(batch)`, as the process that runs it sees it.

It is called with a list of records, or of what its annotation says they are read as. It returns None when all is well;
`{"batchItemFailures": [...]}` as a Lambda handler does; or writes: Put, Delete, or a list of these and of mappings.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headrace.core.effects import effects_of, is_writes
from headrace.errors import Reject, Retry, SettingsError
from headrace.handlers.lambda_result import marshal
from headrace.handlers.loading import batch_reader, find
from headrace.handlers.outcomes import MARSHAL_ERROR, Raised, Unserializable, Wrote
from headrace.handlers.payloads import Reader
from headrace.handlers.wire import BatchCall, FromChild, Unusable
from headrace.model import Record
from headrace.operations import Effect

Raises = Callable[[Exception], Raised]


def load_batch(spec: str, told: Raises) -> Callable[[BatchCall], FromChild] | Unusable:
    """What answers the calls of the handler that `spec` names; `told` puts an error of the user's into words."""
    try:
        target = find(spec)
        read = batch_reader(target, spec)
    except SettingsError as error:
        return Unusable(error.problem, error.mend)
    return lambda call: _answer(target, read, call, told)


def _answer(target: Callable[[Any], Any], read: Reader | None, call: BatchCall, told: Raises) -> FromChild:
    try:
        returned = target(read_batch(pickle.loads(call.records), read))  # noqa: S301 - the worker's own
        found = writes_in(returned)
    except (Reject, Retry) as asked:
        return _asked(asked, told)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        return told(error)
    return marshal(returned) if found is None else _pickled(found)


def _pickled(effects: list[Effect]) -> Wrote | Unserializable:
    try:
        return Wrote(pickle.dumps(effects))
    except Exception as error:  # noqa: BLE001 - an attribute may be any object
        return Unserializable(MARSHAL_ERROR, f"Unable to marshal response: {error}")


def _asked(asked: Reject | Retry, told: Raises) -> Raised:
    words = told(asked)
    if isinstance(asked, Reject):
        return Raised(words.error_type, asked.reason, words.traceback, asks="reject")
    after_s = None if asked.after is None else asked.after.total_seconds()
    return Raised(words.error_type, words.message, words.traceback, asks="retry", after_s=after_s)


def read_batch(records: Sequence[Record], read: Reader | None) -> list[Any]:
    """The handler's argument.

    Raises Reject for a payload that does not fit: the call fails, until a split has found that one record.
    """
    if read is None:
        return list(records)
    found: list[Any] = []
    for record in records:
        try:
            found.append(read(record))
        except Reject as misfit:
            if len(records) == 1:
                raise
            raise Reject(f"record {len(found) + 1} of {len(records)}: {misfit.reason}") from None
    return found


def writes_in(returned: Any) -> list[Effect] | None:
    """The writes that a batch handler returned; None where it returned none, or a report of failures.

    Raises TypeError for what no batch handler may return.
    """
    if returned is None or (isinstance(returned, Mapping) and "batchItemFailures" in returned):
        return None
    if is_writes(returned):
        return list(effects_of(returned))
    allowed = "None, an object with batchItemFailures, Put, Delete, or a list of writes"
    raise TypeError(f"a batch handler returns {allowed}; this one returned {type(returned).__name__}")
