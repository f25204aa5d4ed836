"""Style sheets of pages that are laid out from either side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHEETS = sorted((ROOT / "static/css").glob("*.css"))
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
SIDE = re.compile(r"(^|-)(left|right)$")
FOUR_SIDES = {"margin", "padding", "inset"}
ON_THE_PHOTO = re.compile(
    r"\.(window-outline|region-layers|shimmer|hole-bar|in-place|divider|compare-images|compare-label|try-ring)\b"
)
"""What lies at a place of the photo, whose left is left in every language; before is at the left of a comparison."""


def declarations(sheet: str) -> Iterator[tuple[str, str, str]]:
    """The selector, property and value of each declaration, also within media queries."""
    for selector, body in RULE.findall(COMMENT.sub("", sheet)):
        for declaration in body.split(";"):
            name, colon, value = declaration.partition(":")
            if colon:
                yield selector.strip(), name.strip(), value.strip()


def depends_on_a_side(name: str, value: str) -> bool:
    if SIDE.search(name):
        return (name, value) != ("left", "50%")  # the middle is the same from both sides
    if name in FOUR_SIDES:
        parts = re.findall(r"[^\s(]+(?:\((?:[^()]|\([^()]*\))*\))?", value)
        return len(parts) == 4 and parts[1] != parts[3] != "50%"
    return name in {"text-align", "float", "clear"} and value in {"left", "right"}


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.stem)
def test_boxes_and_texts_begin_at_the_start_of_the_line_rather_than_at_the_left(sheet: Path) -> None:
    found = [
        f"{selector} {{ {name}: {value} }}"
        for selector, name, value in declarations(sheet.read_text())
        if depends_on_a_side(name, value) and not ON_THE_PHOTO.search(selector)
    ]
    assert found == [], (
        "use the logical properties of CSS, such as margin-inline-start, inset-inline and text-align: start"
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("margin-left", "4px", True),
        ("padding", "0 var(--gap) 0 calc(2 * (1px + 2px))", True),
        ("padding", "0 4px 8px 4px", False),
        ("inset", "auto 0 0", False),
        ("left", "50%", False),
        ("inset", "64px auto auto 50%", False),
        ("right", "var(--side)", True),
        ("text-align", "left", True),
        ("text-align", "start", False),
        ("margin-inline-start", "4px", False),
    ],
)
def test_what_depends_on_a_side_is_recognised(name: str, value: str, expected: bool) -> None:
    assert depends_on_a_side(name, value) is expected
