"""The sentences of a JavaScript module that `makemessages` would not find."""

from __future__ import annotations

import re
from collections.abc import Iterator

PIECE = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<marked>\b[np]?gettext\((?:\s*\"(?:[^\"\\\n]|\\.)*\",?)+)"
    r"|(?P<code>\b(?:className|querySelector(?:All)?|closest|matches|RangeError)\b[:(]\s*(?:\"[^\"\n]*\"|`[^`\n]*`))"
    r"|(?P<text>\"(?:[^\"\\\n]|\\.)*\"|`(?:[^`\\]|\\.)*`)",
    re.DOTALL,
)
"""Comments, marked sentences, selectors and classes, other strings."""
VALUE = re.compile(r"\$\{[^}]*\}")
SENTENCE = re.compile(r"[A-Z][a-z]+ [a-z]{2,}|[a-z]{3,}[.…]$|\b[a-z]{2,} [a-z]{2,}\b")
"""Two words, or what ends as a sentence."""
SHOWN = re.compile(r"\b(?:textContent|title|placeholder|label|ariaLabel)(?: =|:) \"[A-Z][a-z]")
"""A property that people see."""


def unmarked(module: str) -> Iterator[str]:
    """Yield the strings that look like sentences and are not given to `gettext` or `ngettext`."""
    for match in PIECE.finditer(module):
        text = match["text"]
        if not text or "px" in text or "gettext(" in text or not re.search(r"[a-z]{2}", VALUE.sub("", text)):
            continue
        if SENTENCE.search(VALUE.sub("some", text[1:-1])):
            yield text
    yield from SHOWN.findall(module)
