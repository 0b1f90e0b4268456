"""A block of shell taken apart into simple commands: what is called, with which words, under which variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

SUBSTITUTED = "SUBSTITUTED"
"""Stands for what a command within the command would print."""

_ENDS = {"&&", "||", ";", ";;", "|", "&", "(", ")"}
_REDIRECTIONS = {">", ">>", "<", "2>", ">&", "<<"}
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


@dataclass
class Command:
    """One simple command. `assigned` are the variables before it, or those that it exports."""

    words: list[str]
    assigned: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return shlex.join([*(f"{name}={value}" for name, value in self.assigned.items()), *self.words])


def commands(text: str) -> Iterator[Command]:
    """Every command of a block, those within `$(...)` before the one that they stand in. Comments are left out."""
    for line in _lines(text):
        outer, inner = _without_substitutions(line)
        for one in inner:
            yield from commands(one)
        yield from _simple(_words(outer))


def _lines(text: str) -> Iterator[str]:
    """Lines as the shell sees them: those that end with a backslash, or within quotes, go on."""
    waiting = ""
    for line in text.splitlines():
        waiting += line
        if waiting.endswith("\\"):
            waiting = waiting[:-1]
            continue
        try:
            _words(waiting)
        except ValueError:
            waiting += "\n"
            continue
        if waiting.strip():
            yield waiting
        waiting = ""
    if waiting.strip():
        raise ValueError(f"a quote is not closed: {waiting}")


def _words(line: str) -> list[str]:
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    return list(reader)


def _without_substitutions(line: str) -> tuple[str, list[str]]:
    inner: list[str] = []
    while (start := line.find("$(")) >= 0:
        depth, end = 0, start + 1
        for end in range(start + 1, len(line)):
            depth += {"(": 1, ")": -1}.get(line[end], 0)
            if depth == 0:
                break
        inner.append(line[start + 2 : end])
        line = line[:start] + SUBSTITUTED + line[end + 1 :]
    return line, inner


def _simple(words: list[str]) -> Iterator[Command]:
    command = Command([])
    skips = False
    for word in [*words, ";"]:
        if skips:
            skips = False
        elif word in _REDIRECTIONS:
            skips = True
            if command.words and command.words[-1] in {"1", "2"}:
                command.words.pop()
        elif word in _ENDS:
            if command.words or command.assigned:
                yield _settled(command)
            command = Command([])
        elif not command.words and (found := _ASSIGNMENT.fullmatch(word)):
            command.assigned[found[1]] = found[2]
        else:
            command.words.append(word)


def _settled(command: Command) -> Command:
    if command.words and command.words[0] == "export":
        exported = [_ASSIGNMENT.fullmatch(word) for word in command.words[1:]]
        if not all(exported):
            raise ValueError(f"export without a value: {command}")
        return Command([], {found[1]: found[2] for found in exported if found})
    return command
