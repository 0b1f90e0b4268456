"""Every page is found from the index, and every link leads somewhere."""

from __future__ import annotations

import pytest

from docs.pages import INDEX, OTHERS, PAGES, ROOT, anchors, links, name_of, tokens

KINDS = ["Tutorial", "How-to", "Reference", "Explanation"]


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page):
    """Those within the repository; others are not asked."""
    wrong = []
    for link in links(page):
        target, _, anchor = link.text.partition("#")
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(f"{link.where}: {link.text}")
    assert wrong == []


def test_the_index_sorts_every_page_into_one_of_four():
    """Whoever looks for something knows whether to learn, to do, to look up or to understand."""
    headings, found = [], {}
    for before, token in zip(tokens(INDEX), tokens(INDEX)[1:], strict=False):
        if before.type == "heading_open" and before.tag == "h2":
            headings.append(token.content)
        for child in token.children or () if token.type == "inline" and headings else ():
            if child.type == "link_open":
                name = str(child.attrs["href"]).partition("#")[0]
                found.setdefault(name, set()).add(headings[-1])
    assert headings[: len(KINDS)] == KINDS
    pages = {page.name for page in PAGES if page.parent == INDEX.parent} - {INDEX.name}
    assert pages - found.keys() == set(), "not linked"
    assert {name: kinds for name, kinds in found.items() if name in pages and len(kinds) != 1} == {}


def test_readme_leads_to_the_index():
    """The way in."""
    assert "docs/README.md" in {link.text for link in links(ROOT / "README.md")}
