"""The tutorial, done as it is written: every block in order, in three terminals, on a stack of its own.

What differs from a reader: `make` is not run (what it installs is here), and ports are free ones.
"""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import servers

from docs.pages import ROOT, Block, blocks, tokens
from docs.terminals import Terminal, matches, until

PAGE = ROOT / "docs" / "tutorial.md"
STACK, WORKER = "headrace stack", "headrace run"
CHANGES = re.compile(r"redrive$|redrive \$|seek (?!.*--dry-run)|headrace-producer|headrace (run|stack)", re.MULTILINE)
"""A block that must not be done twice. Of the others what they show may take its time, and a reader would look again."""

SETTLES_S = 20.0


@dataclass
class Reader:
    """Does what the page says."""

    folder: Path
    ports: dict[str, int] = field(default_factory=lambda: {"4566": servers.free_port(), "8080": servers.free_port()})
    terminals: dict[str, Terminal] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HEADRACE_"))}
        # A reader may well have a profile: the stack's file has to win over it.
        return {**plain, "AWS_PROFILE": "nobody", "HEADRACE_OPS_PORT": str(self.ports["8080"])}

    def terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            output = self.folder / f"terminal-{len(self.terminals)}"
            self.terminals[name] = Terminal.opened(output, self.folder / "headrace", self.environment())
            if name != "third":  # as the text says of each: the same folder, the environment active
                self.terminals[name].type("cd ../readings; . ../headrace/.venv/bin/activate")
                assert self.terminals[name].status() == 0
        return self.terminals[name]

    def with_own_ports(self, text: str) -> str:
        for usual, own in self.ports.items():
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{own}")
        return text.replace(STACK, f"{STACK} --port {self.ports['4566']}")

    # --- steps ----------------------------------------------------------------------------------------------------------

    def save(self, block: Block) -> None:
        name = block.text.split("\n", 1)[0].removeprefix("# ")
        (self.folder / "readings" / name).write_text(block.text.split("\n", 1)[1])

    def follow(self, block: Block, shown: str | None) -> None:
        if STACK in block.text:
            self.leave_running("stack", block, shown)
        elif WORKER in block.text:
            self.leave_running("worker", block, shown)
            until(lambda: self.fetched("readyz") is not None, 30, self.terminals["worker"].said)
        else:
            self.type(block, shown)

    def leave_running(self, name: str, block: Block, shown: str | None) -> None:
        if name in self.terminals:
            self.stop(name)
        terminal = self.terminal(name)
        terminal.type(self.with_own_ports(block.text))
        if shown is not None:
            until(lambda: matches(shown, terminal.said()), 60, terminal.said)

    def stop(self, name: str) -> None:
        """Ctrl-C; it ends as one that was asked to."""
        self.terminals[name].interrupt()
        assert self.terminals[name].status() == 0, self.terminals[name].said()

    def type(self, block: Block, shown: str | None) -> None:
        terminal = self.terminal("third")

        def done() -> bool:
            terminal.type(re.sub(r"^make .*$", ":", self.with_own_ports(block.text), flags=re.MULTILINE))
            failed = terminal.status()
            return failed == 0 and (shown is None or matches(shown, terminal.result()))

        within_s = 0.0 if CHANGES.search(block.text) else SETTLES_S
        until(done, within_s, lambda: f"{block.where}\n{block.text}\nsaid\n{terminal.said()}\ninstead of\n{shown}")

    def open(self, url: str) -> None:
        path = self.with_own_ports(url).partition(f":{self.ports['8080']}/")[2]
        assert "<title>headrace</title>" in (self.fetched(path) or "")

    def fetched(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['8080']}/{path}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return None


def steps() -> Iterator[tuple[str, Block, str | None]]:
    """What a reader does, in order, with what is shown below."""
    code = {block.line: block for block in blocks(PAGE)}
    ordered = sorted([*((line, "block", block) for line, block in code.items()), *((b.line, "page", b) for b in pages())], key=lambda step: step[0])  # fmt: skip
    for place, (_, kind, block) in enumerate(ordered):
        after = ordered[place + 1][2] if place + 1 < len(ordered) else None
        shown = after.text if after is not None and after.language == "text" else None
        if kind == "page" or block.language != "text":
            yield kind, block, shown


def pages() -> Iterator[Block]:
    for token in tokens(PAGE):
        for child in token.children or () if token.type == "inline" else ():
            if child.type == "link_open" and str(child.attrs["href"]).startswith("http://127.0.0.1:8080"):
                yield Block(PAGE, token.map[0] + 1, "link", str(child.attrs["href"]))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """With a clone that has an environment; whatever happens, nothing is left running."""
    (tmp_path / "headrace").mkdir()
    (tmp_path / "headrace" / ".venv").symlink_to(sys.prefix)
    one = Reader(tmp_path)
    yield one
    for terminal in one.terminals.values():
        terminal.close()


@pytest.mark.process
@pytest.mark.servers
def test_the_tutorial_works_as_it_is_written(reader):
    """Every command does what the page shows, and Ctrl-C leaves nothing behind."""
    for kind, block, shown in steps():
        if kind == "page":
            reader.open(block.text)
        elif block.language == "sh":
            reader.follow(block, None if shown is None else reader.with_own_ports(shown))
        else:
            reader.save(block)
    started = [p for t in reader.terminals.values() for p in psutil.Process(t.shell.pid).children(recursive=True)]
    assert len(started) >= 3, "the stack, its server and a worker"
    reader.stop("worker")
    reader.stop("stack")
    assert not any(process.is_running() for process in started)
    assert not (reader.folder / "readings" / ".stack" / "environment").exists()


def test_what_is_shown_and_what_was_said_are_compared_line_by_line():
    """Otherwise the test above proves nothing."""
    said = "one two three\nfour\nfive\nsix\n"
    assert matches("one ... three\n...\nsix", said)
    assert matches("...\none two three\nfour\n...", said)
    assert not matches("one ... three\nsix", said)
    assert not matches("one ... four\n...\nsix", said)
    assert not matches("one two three\n...\nseven", said)
    assert not matches("...\nfive", said)


def test_every_block_of_the_tutorial_is_a_step():
    """Typed, saved or shown; a block of another language would be passed over."""
    assert {block.language for block in blocks(PAGE)} == {"sh", "text", "python", "toml"}
    assert [block.text for block in pages()] == ["http://127.0.0.1:8080/"]
