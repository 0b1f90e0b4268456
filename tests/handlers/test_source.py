"""What is seen of a handler without importing it."""

from __future__ import annotations

import sys

import pytest

from headrace.handlers.source import takes_event_and_context


@pytest.fixture
def written(module, tmp_path, monkeypatch):
    """A module whose import would fail, with this definition in it."""
    monkeypatch.syspath_prepend(tmp_path)
    return lambda source: f"{module('raise NotImplementedError' + chr(10) + source)}:handle"


@pytest.mark.parametrize(
    "source",
    [
        "def handle(event, context): ...",
        "async def handle(event, context): ...",
        "def handle(event: dict[str, list[int]], context: 'LambdaContext'): ...",
        "def handle(event, context=None, *, more=1): ...",
        "@logger.inject_lambda_context(log_event=True)\ndef handle(event, context, /): ...",
        "def handle(record): ...\ndef handle(event, context): ...",
    ],
)
def test_an_event_and_a_context_are_seen(written, source):
    """Decorated, annotated or async."""
    assert takes_event_and_context(written(source))


@pytest.mark.parametrize(
    "source",
    [
        "def handle(record): ...",
        "def handle(batch, context): ...",
        "def handle(event: list[Record], context): ...",
        "def handle(event: 'typing.List[Record]', context): ...",
        "def handle(event, context): ...\ndef handle(record): ...",
        "handle = partial(work, 1)",
        "class handle: ...",
        "def handle(event, context:",
    ],
)
def test_whatever_else_it_may_be_is_left_to_the_import(written, source):
    """Which has the whole signature, and the words for what is wrong."""
    assert not takes_event_and_context(written(source))


@pytest.mark.parametrize(
    "spec", ["no_such_module:handle", "no_such.module:handle", "", ":", "a b:c", ".:handle", "sys:exit"]
)
def test_a_module_without_a_source_is_left_to_the_import(spec):
    """No error comes from looking."""
    assert not takes_event_and_context(spec)


def test_a_package_that_ends_the_process_does_not(tmp_path, monkeypatch):
    """It is imported on the way to its module; the import proper will tell."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ending").mkdir()
    (tmp_path / "ending" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "ending" / "app.py").write_text("def handle(event, context): ...")

    assert not takes_event_and_context("ending.app:handle")
    assert "ending" not in sys.modules
