"""Every test that a page of the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.installation import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILE = re.compile(r"`(?:tests/)?((?:[a-z0-9_]+/)*test_[a-z0-9_]+\.py)`")
TEST = re.compile(r"`(test_[a-z0-9_]+)`")
FILES = [path.as_posix() for path in (ROOT / "tests").rglob("test_*.py")]


def unknown_tests(page: Path) -> list[str]:
    """The names of files and tests in a page that no file of tests has."""
    text = page.read_text()
    files = [name for name in FILE.findall(text) if not any(path.endswith(f"/{name}") for path in FILES)]
    defined = "\n".join(Path(path).read_text() for path in FILES)
    return files + [name for name in TEST.findall(text) if f"def {name}(" not in defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_tests_that_the_page_names_exist(page: Path) -> None:
    assert unknown_tests(page) == []


def test_one_that_does_not_exist_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`test_documented_tests.py`, `tests/core/test_masks.py`, `core/test_of_nothing.py`, `test_of_none`")
    assert unknown_tests(page) == ["core/test_of_nothing.py", "test_of_none"]
