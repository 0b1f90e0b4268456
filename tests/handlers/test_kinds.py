"""Which kind of handler a function is taken for."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence

import pytest

from headrace import Record
from headrace.errors import SettingsError
from headrace.handlers.kinds import HandlerKind, kind_by_name, kind_by_signature

R, B, L = HandlerKind.RECORD, HandlerKind.BATCH, HandlerKind.LAMBDA


def kind(function):
    parameters = list(inspect.signature(function).parameters.values())
    annotation = parameters[0].annotation if parameters else inspect.Parameter.empty
    return kind_by_signature(function, annotation, "app:handle", "HEADRACE_HANDLER")


def annotated(annotation):
    def handle(record): ...

    handle.__signature__ = inspect.Signature(
        [inspect.Parameter("order", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)]
    )
    return handle


CLEAR = {
    "one record": (lambda record: ..., R),
    "an optional second argument": (lambda record, verbose=False: ..., R),
    "an event alone": (lambda event: ..., R),
    "annotated dict": (annotated(dict), R),
    "annotated Record": (annotated(Record), R),
    "annotated Mapping": (annotated(Mapping[str, int]), R),
    "annotated Any": (annotated(typing.Any), R),
    "any arguments": (lambda *arguments: ..., R),
    "event and context": (lambda event, context: ..., L),
    "an optional context": (lambda event, context=None: ..., L),
    "two arguments of other names": (lambda evt, _: ..., L),
    "a batch by its name": (lambda batch: ..., B),
    "records by their name": (lambda records: ..., B),
    "a list of records": (annotated(list[Record]), B),
    "a sequence of records": (annotated(Sequence[Record]), B),
}


@pytest.mark.parametrize("case", CLEAR)
def test_a_function_tells_its_kind(case):
    """By names, number of arguments and annotation."""
    function, expected = CLEAR[case]

    assert kind(function) is expected


UNCLEAR = {
    "records, annotated as one": (lambda records: ..., Record),
    "a batch, annotated as one payload": (lambda batch: ..., dict),
    "a batch and a context": (lambda batch, context: ..., inspect.Parameter.empty),
    "an event and a context, annotated as a list": (lambda event, context: ..., list[Record]),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_a_function_that_shows_signs_of_two_kinds_is_refused(case):
    """A wrong guess would be paid for in production; the message says how to name the kind."""
    function, annotation = UNCLEAR[case]
    with pytest.raises(
        SettingsError, match=r"HEADRACE_HANDLER = 'app:handle': looks like .*Set HEADRACE_HANDLER_KIND to"
    ):
        kind_by_signature(function, annotation, "app:handle", "HEADRACE_HANDLER")


def test_only_lambda_names_a_handler_without_a_colon():
    """Nothing has to be imported to know it."""
    assert kind_by_name("src/app.handler") is L
    assert kind_by_name("app:handle") is None
