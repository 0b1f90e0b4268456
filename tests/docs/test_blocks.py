"""What pages show and nobody types: Python that runs, settings that are taken, JSON that is JSON."""

from __future__ import annotations

import inspect
import json
import re
import sys
import tomllib
import types

import pytest
import yaml

from docs.pages import INDEX, OTHERS, PAGES, blocks, name_of, prose
from docs.programs import LEAST
from headrace.handlers.loading import record_handler
from headrace.settings import load
from headrace.testing import run

TUTORIAL = INDEX.parent / "tutorial.md"


def pages_with(language):
    return [page for page in PAGES if any(block.language == language for block in blocks(page))]


@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_python_runs_and_its_tests_pass(page, tmp_path, monkeypatch):
    """The blocks of a page in their order, as one module: what a later one uses an earlier one made."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("a_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where dataclasses look for their annotations
    names = vars(module)
    for block in blocks(page):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    for name, found in list(names.items()):
        if name.startswith("test_"):
            assert not inspect.iscoroutinefunction(found)
            found()


def test_the_tutorials_mistake_is_one_and_its_mend_mends_it():
    """An alarm without a figure for smoke: buried first, written then."""
    first, second = [block.text for block in blocks(TUTORIAL) if block.language == "python"]
    alarm = {"device_id": "d", "site": "s", "alarm": True, "readings": {"temperature_c": 69.5}}
    for text, letters in ((first, 1), (second, 0)):
        names: dict[str, object] = {}
        exec(text, names)
        outcome = run(record_handler(names["handle"], "readings:handle").call, [alarm])
        assert (len(outcome.dead_letters), len(outcome.items)) == (letters, 1 - letters)


@pytest.mark.parametrize("page", pages_with("toml"), ids=name_of)
def test_settings_are_taken(page, tmp_path):
    """Each block as a headrace.toml, completed with what every worker has to be told."""
    for block in blocks(page):
        if block.language == "toml":
            file = tmp_path / "headrace.toml"
            file.write_text(block.text)
            given = tomllib.loads(block.text)
            least = {
                "HEADRACE_APPLICATION": "application",
                "HEADRACE_STREAM_NAME": "stream",
                "HEADRACE_SINK_TABLE": "sink",
            }
            lacking = {env: LEAST[env] for env, key in least.items() if key not in given}
            load([], lacking, file)


@pytest.mark.parametrize("page", [*pages_with("json"), *pages_with("yaml")], ids=name_of)
def test_documents_can_be_read(page):
    """A comma too many is found here and not by a reader."""
    for block in blocks(page):
        if block.language in {"json", "yaml"}:
            assert (json.loads if block.language == "json" else yaml.safe_load)(block.text)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_a_command_stands_in_a_block_of_its_own(page):
    """A block that loses its line break, as in a merge, is run together with the sentence before it: `it.     helm test`."""
    glued = [f"{name_of(page)}:{line}: {text}" for line, text in prose(page) if re.search(r"\S {4,}\S", text)]
    assert glued == []
