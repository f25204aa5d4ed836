"""Every test that a page of the documentation names is there, and the model of threats has one in each row."""

from __future__ import annotations

import re
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
FILE = re.compile(r"`(?:tests/)?((?:[a-z0-9_]+/)*test_[a-z0-9_]+\.py)`")
TEST = re.compile(r"`(test_[a-z0-9_]+)`")
SECURITY = ROOT / "docs/run/security.md"
FILES = [path.as_posix() for path in (ROOT / "tests").rglob("*.py")]  # also the contracts


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


def rows_of_threats() -> list[list[str]]:
    table = [line for line in SECURITY.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def test_each_row_says_who_what_where_and_names_a_test_that_exists() -> None:
    assert len(rows_of_threats()) > 20
    assert unknown_tests(SECURITY) == []
    for row in rows_of_threats():
        assert len(row) == 4, row
        assert all(row), row
        assert FILE.findall(row[3]), row


def test_every_attack_has_a_row() -> None:
    named = {name for row in rows_of_threats() for name in FILE.findall(row[3])}
    attacks = {f"attacks/{path.name}" for path in (ROOT / "tests/attacks").glob("test_*.py")}
    assert attacks - named == {"attacks/test_measurement.py"}


def test_the_page_is_one_page_and_is_found() -> None:
    assert len(SECURITY.read_text().splitlines()) < 70
    for page in ("README.md", "SECURITY.md", "docs/run/operations.md"):
        assert re.search(r"\]\((docs/run/)?security\.md\)", (ROOT / page).read_text()), page
