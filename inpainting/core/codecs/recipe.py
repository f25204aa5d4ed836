"""The recipe inside a result: how it was made, as texts in the PNG. https://www.w3.org/TR/png-3/#11textinfo"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from inpainting.core.codecs.limits import LIMITS, Door
from inpainting.core.codecs.png import SIGNATURE, TEXTS, chunk, chunks, text_in

KEYWORD = re.compile(r"[!-~\xa1-\xff](?: ?[!-~\xa1-\xff])*")
"""Printable Latin-1, no space at the ends and no two together (section 11.3.3.1)."""
MAX_KEYWORD = 79


def recipe_of(engine: str, settings: Mapping[str, object], *, index: int) -> dict[str, str]:
    """What travels inside a result, so that it can be made again: its engine, PaintSettings' fields, which of several.

    Raises TypeError for settings that JSON does not know.
    """
    return {"dreamlayer": json.dumps({"engine": engine, **settings, "index": index})}


def recipe_chunks(recipe: Mapping[str, str]) -> Iterator[bytes]:
    """One uncompressed iTXt chunk for each entry. Raises ValueError for a keyword or text that PNG cannot hold."""
    for keyword, text in recipe.items():
        if len(keyword) > MAX_KEYWORD or not KEYWORD.fullmatch(keyword):
            raise ValueError(f"a PNG keyword is 1-79 printable Latin-1 characters, got {keyword!r}")
        if "\0" in text:
            raise ValueError(f"the text of {keyword!r} holds a NUL, which ends a text in PNG")
        # flag 0 (not compressed), method 0, no language, no translated keyword
        yield chunk(b"iTXt", keyword.encode("latin-1") + b"\0" + b"\0\0" + b"\0" + b"\0" + text.encode("utf-8"))


def read_recipe(data: bytes) -> dict[str, str]:
    """All texts of a PNG by their keywords; nothing for other files. Raises InvalidPicture for a damaged PNG."""
    if not data.startswith(SIGNATURE):
        return {}
    door = Door("image", LIMITS)
    budget, texts = door.limits.max_text_bytes, {}
    for kind, body in chunks(data, door):
        if kind in TEXTS:
            keyword, text = text_in(kind, body, budget, door)
            budget -= len(text)
            encoding = "utf-8" if kind == b"iTXt" else "latin-1"
            texts[keyword.decode("latin-1")] = text.decode(encoding, errors="replace")
    return texts
