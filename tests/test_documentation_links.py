"""Every relative link of the documentation leads to a file, and every anchor to a heading."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.installation import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)\"""")


def text_of(page: Path) -> str:
    return CODE.sub("", page.read_text())


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives the headings of a page: lower case, hyphens for spaces, no punctuation."""
    page_without_blocks = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", page_without_blocks, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)


def broken_links(page: Path) -> list[str]:
    links = [markdown or html for markdown, html in LINK.findall(text_of(page))]
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    broken = []
    for link in local:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_the_page_resolves(page: Path) -> None:
    assert broken_links(page) == []


def test_the_readme_leads_to_every_page() -> None:
    """Over links from page to page, so that no page is known only to those who list the folder."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = [markdown.partition("#")[0] for markdown, _ in LINK.findall(text_of(page)) if markdown]
        targets = {(page.parent / link).resolve() for link in links if link.endswith(".md") and ":" not in link}
        waiting += targets - reached
    assert sorted(set(PAGES) - reached) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n[a](page.md#a-page) [b](page.md#other) [c](none.md) ![d](none.png) [e](https://f.g)\n")
    assert broken_links(page) == ["page.md#other", "none.md", "none.png"]
