"""Settings that change nothing in the mode that the others choose are told."""

import pytest

from headrace.settings import load
from headrace.settings.names import known_names
from headrace.settings.table import settings_table
from headrace.settings.without_effect import Called, without_effect

LEAST = {"HEADRACE_APPLICATION": "orders", "HEADRACE_STREAM_NAME": "orders", "HEADRACE_SINK_TABLE": "items"}
HANDLER = {"HEADRACE_HANDLER": "app:handle"}


def told(called, **given):
    environment = {**LEAST, **(HANDLER if called is not Called.MAPPING else {}), **given}
    return {idle.name.env: idle.reason for idle in without_effect(load([], environment), called)}


@pytest.mark.parametrize("called", Called)
def test_nothing_is_told_of_defaults(called):
    """Also where they were written out: they mean what happens anyway."""
    assert told(called) == {}
    assert told(called, HEADRACE_BATCH_PARALLELIZATION_FACTOR="1", HEADRACE_SINK_MODE="put") == {}


@pytest.mark.parametrize(
    ("setting", "value", "works"),
    [
        ("HEADRACE_HANDLER_NAME", "orders", {Called.BATCH, Called.LAMBDA}),
        ("HEADRACE_HANDLER_TIMEOUT", "5s", {Called.BATCH, Called.ASYNC_BATCH, Called.LAMBDA}),
        ("HEADRACE_HANDLER_PROCESSES", "2", {Called.BATCH, Called.LAMBDA}),
        ("HEADRACE_HANDLER_THREADS", "8", {Called.RECORD}),
        ("HEADRACE_HANDLER_MEMORY", "1GiB", {Called.BATCH, Called.LAMBDA}),
        ("HEADRACE_BATCH_PARALLELIZATION_FACTOR", "4", {Called.BATCH, Called.ASYNC_BATCH, Called.LAMBDA}),
        ("HEADRACE_BATCH_BYTES", "1MiB", {Called.LAMBDA}),
        ("HEADRACE_RETRY_BISECT", "false", {Called.BATCH, Called.ASYNC_BATCH, Called.LAMBDA}),
        ("HEADRACE_RETRY_REPORT_BATCH_ITEM_FAILURES", "true", {Called.BATCH, Called.ASYNC_BATCH, Called.LAMBDA}),
    ],
)
def test_a_setting_for_another_kind_of_handler_is_told_with_the_kind_that_there_is(setting, value, works):
    """A person who tunes threads of an async handler learns that nothing will change."""
    for called in set(Called) - {Called.MAPPING}:
        found = told(called, **{setting: value})
        assert set(found) == (set() if called in works else {setting}), called
        assert all(reason.endswith(called.value) for reason in found.values())


def test_lanes_without_a_handler_are_told():
    """The item mapping fails record by record; settings of handlers alone are refused without one."""
    assert told(Called.MAPPING, HEADRACE_BATCH_PARALLELIZATION_FACTOR="4", HEADRACE_RETRY_BISECT="false") == {
        "HEADRACE_BATCH_PARALLELIZATION_FACTOR": "lanes are for batch and Lambda handlers; records fail key by key, and "
        "there is no handler but the item mapping",
        "HEADRACE_RETRY_BISECT": "it splits batches of batch and Lambda handlers, and there is no handler but the item "
        "mapping",
    }


def test_a_way_of_writing_without_a_table_is_told():
    """A Lambda handler writes by itself."""
    given = {"HEADRACE_SINK_TABLE": "none", "HEADRACE_SINK_MODE": "insert", "HEADRACE_SINK_DEPTH": "4"}
    assert set(told(Called.LAMBDA, **given)) == {"HEADRACE_SINK_MODE", "HEADRACE_SINK_DEPTH"}
    assert told(Called.LAMBDA, **{**given, "HEADRACE_SINK_TABLE": "items"}) == {}


def test_a_policy_for_what_no_filter_looks_into_is_told():
    """It is about payloads that a pattern would have to read."""
    assert set(told(Called.RECORD, HEADRACE_FILTER_NON_JSON="pass")) == {"HEADRACE_FILTER_NON_JSON"}
    pattern = '{"data": {"type": ["order"]}}'
    assert told(Called.RECORD, HEADRACE_FILTER_NON_JSON="pass", HEADRACE_FILTER_PATTERNS=pattern) == {}


def test_every_setting_that_names_kinds_of_handlers_in_its_meaning_has_a_rule():
    """A new setting for Lambda or batch handlers alone must not be taken in silence elsewhere."""
    every = {called: told(called, **GIVEN) for called in (Called.RECORD, Called.ASYNC_RECORD, Called.LAMBDA)}
    ruled = {name for found in every.values() for name in found}
    special = {
        row.name.env
        for row in settings_table()
        if any(words in row.meaning for words in ("Lambda handler", "batch handler", "record handler"))
    }
    assert special - ruled == ELSEWHERE


GIVEN = {
    "HEADRACE_HANDLER_NAME": "orders",
    "HEADRACE_HANDLER_TIMEOUT": "5s",
    "HEADRACE_HANDLER_PROCESSES": "2",
    "HEADRACE_HANDLER_THREADS": "8",
    "HEADRACE_HANDLER_MEMORY": "1GiB",
    "HEADRACE_BATCH_PARALLELIZATION_FACTOR": "4",
    "HEADRACE_BATCH_BYTES": "1MiB",
    "HEADRACE_RETRY_BISECT": "false",
    "HEADRACE_RETRY_REPORT_BATCH_ITEM_FAILURES": "true",
}
ELSEWHERE = {
    "HEADRACE_SINK_TABLE",  # required of some, taken by all
    "HEADRACE_SINK_MODE",  # transactional is refused for batch and Lambda handlers
    "HEADRACE_STREAM_DEAGGREGATE",  # its default depends on the kind, it works for all
    "HEADRACE_BATCH_TUMBLING_WINDOW",  # refused but for Lambda handlers
}
"""Settings that tell of kinds of handlers and are not without effect for any."""


def test_the_rules_name_settings_that_exist():
    """By the environment's names."""
    assert set(GIVEN) | ELSEWHERE <= {name.env for name in known_names().values()}
