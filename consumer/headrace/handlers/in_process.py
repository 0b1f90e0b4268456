"""A handler of any kind called in this very process: for tests, where a crash is wanted and a debugger may be."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from headrace.core.lambda_event import EventEncoder
from headrace.errors import CallFailed
from headrace.handlers.batch_function import read_batch, writes_in
from headrace.handlers.kinds import HandlerKind, kind_by_signature
from headrace.handlers.lambda_context import LambdaContext
from headrace.handlers.lambda_result import marshal
from headrace.handlers.loading import SETTING, annotation_of, batch_reader, record_handler
from headrace.handlers.outcomes import Returned
from headrace.model import Record
from headrace.ports import BatchContext, BatchHandler, Handler

FUNCTION: Final = "function"
"""The name that a Lambda handler is told."""


def in_process(target: Callable[..., Any], kind: str, stream_arn: str, limit_s: float) -> Handler | BatchHandler:
    """A function as the worker would call it; `kind` is auto, record, batch or lambda. Raises SettingsError."""
    name = f"{target.__module__}:{getattr(target, '__qualname__', type(target).__name__)}"
    known = (
        kind_by_signature(target, annotation_of(target, name), name, SETTING) if kind == "auto" else HandlerKind(kind)
    )
    if known is HandlerKind.RECORD:
        return record_handler(target, name)
    if known is HandlerKind.BATCH:
        return _batch(target, name)
    return _lambda(target, name, stream_arn, limit_s)


def _batch(target: Callable[..., Any], name: str) -> BatchHandler:
    read = batch_reader(target, name)

    async def call(records: Sequence[Record], _: BatchContext) -> Any:
        returned = target(read_batch(records, read))
        if inspect.isawaitable(returned):
            returned = await returned
        found = writes_in(returned)
        return returned if found is None else found

    return BatchHandler(name, call)


def _lambda(target: Callable[..., Any], name: str, stream_arn: str, limit_s: float) -> BatchHandler:
    _, partition, _, region, account, *_ = stream_arn.split(":")
    encoder = EventEncoder(stream_arn, f"arn:{partition}:iam::{account}:role/{FUNCTION}")
    arn = f"arn:{partition}:lambda:{region}:{account}:function:{FUNCTION}"

    async def call(records: Sequence[Record], context: BatchContext) -> Any:
        told = LambdaContext(context.request_id, arn, limit_s)
        told.function_name = told.function_name or FUNCTION
        result = marshal(target(json.loads(encoder.encode(records, context.window)), told))
        if isinstance(result, Returned):
            return result.value_json
        raise CallFailed(result.error_type, result.message)

    return BatchHandler(name, call, encoder.size_of, encoder.overhead)
