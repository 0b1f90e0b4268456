"""README and the pages in docs/: their code, their links, their headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
INDEX = ROOT / "docs" / "README.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]
"""Pages of the repository for those who change it: their commands and links are held to the same."""

SHELL = {"", "sh"}
"""Languages of blocks that are typed; an indented block is one, as these pages have them."""

SHOWN = {"text", "python", "toml", "yaml", "json", "dockerfile"}
"""Languages of blocks that are not."""


@dataclass(frozen=True)
class Block:
    """A block of code: the page, the line where its text begins, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


@cache
def blocks(page: Path) -> list[Block]:
    """Every block of code, fenced or indented, in order."""
    found = []
    for token in tokens(page):
        if token.type in {"fence", "code_block"}:
            fence = token.type == "fence"
            found.append(Block(page, token.map[0] + 1 + fence, token.info.strip() if fence else "", token.content))
    return found


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Every line of text outside of blocks of code and tables, as it is written, with its number."""
    lines = page.read_text().splitlines()
    for token in tokens(page):
        if token.type == "inline" and not lines[token.map[0]].startswith("|"):
            for number in range(*token.map):
                yield number + 1, lines[number].strip()


def spans(page: Path) -> Iterator[Block]:
    """Every span of code within text or a table."""
    for token in tokens(page):
        if token.type == "inline":
            for child in token.children or ():
                if child.type == "code_inline":
                    yield Block(page, token.map[0] + 1, "span", child.content.replace("\\|", "|"))


def links(page: Path) -> Iterator[Block]:
    """Where links and pictures lead."""
    for token in tokens(page):
        for child in token.children or () if token.type == "inline" else ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                yield Block(page, token.map[0] + 1, "link", str(target))


@cache
def anchors(page: Path) -> set[str]:
    """The names by which a heading is reached, as the usual renderers make them."""
    found: set[str] = set()
    for before, token in zip(tokens(page), tokens(page)[1:], strict=False):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children or ())
            found.add(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return found
