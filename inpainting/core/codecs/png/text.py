"""PNG text chunks, which carry the parameters a result was generated with. https://www.w3.org/TR/png-3/#11textinfo"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from inpainting.core.codecs.intake import DEFAULT_LIMITS, STORED_LIMITS, Intake
from inpainting.core.codecs.metadata.xmp import PNG_KEYWORD
from inpainting.core.codecs.png.png import SIGNATURE, TEXTS, chunk, chunks, read_text

KEYWORD = re.compile(r"[!-~\xa1-\xff](?: ?[!-~\xa1-\xff])*")
"""Printable Latin-1, no space at the ends and no two together (section 11.3.3.1)."""
MAX_KEYWORD = 79
SETTINGS_TEXT = "dreamlayer"
"""The keyword of the settings."""


def generation_parameters(engine: str, settings: Mapping[str, object], *, index: int) -> dict[str, str]:
    """Return the text that makes a result reproducible: its engine, the fields of PaintSettings, its index in the
    generation.

    Raises TypeError for settings that JSON cannot represent.
    """
    return {SETTINGS_TEXT: json.dumps({"engine": engine, **settings, "index": index})}


def text_chunks(texts: Mapping[str, str]) -> Iterator[bytes]:
    """Yield one uncompressed iTXt chunk for each entry. Raises ValueError for a keyword or text that PNG cannot
    hold."""
    for keyword, text in texts.items():
        if len(keyword) > MAX_KEYWORD or not KEYWORD.fullmatch(keyword):
            raise ValueError(f"a PNG keyword is 1-79 printable Latin-1 characters, got {keyword!r}")
        if "\0" in text:
            raise ValueError(f"the text of {keyword!r} holds a NUL, which ends a text in PNG")
        # flag 0 (not compressed), method 0, no language, no translated keyword
        yield chunk(b"iTXt", keyword.encode("latin-1") + b"\0" + b"\0\0" + b"\0" + b"\0" + text.encode("utf-8"))


def replace_png_texts(data: bytes, texts: Mapping[str, str] | None, *, packet: bytes | None = None) -> bytes:
    """Return the same PNG with other texts.

    texts: in place of its own, apart from its XMP packet, which is metadata that was asked to be kept; None keeps all.
    packet: an XMP packet in place of its own; None keeps it.
    Raises InvalidImage for a damaged PNG, and ValueError as `text_chunks`.
    """
    added = {**(texts or {}), **({PNG_KEYWORD: packet.decode()} if packet else {})}
    parts = [SIGNATURE]
    for kind, body in chunks(data, Intake("image", STORED_LIMITS)):
        is_packet = kind in TEXTS and bytes(body).startswith(PNG_KEYWORD.encode() + b"\0")
        replacement = packet if is_packet else texts
        if kind not in TEXTS or replacement is None:
            parts.append(chunk(kind, body))
        if kind == b"IHDR":
            parts.extend(text_chunks(added))
    return b"".join(parts)


def read_png_texts(data: bytes) -> dict[str, str]:
    """Return all texts of a PNG by their keywords; empty for other files. Raises InvalidImage for a damaged PNG."""
    if not data.startswith(SIGNATURE):
        return {}
    intake = Intake("image", DEFAULT_LIMITS)
    budget, texts = intake.limits.max_text_bytes, {}
    for kind, body in chunks(data, intake):
        if kind in TEXTS:
            keyword, text = read_text(kind, bytes(body), budget, intake)
            budget -= len(text)
            encoding = "utf-8" if kind == b"iTXt" else "latin-1"
            texts[keyword.decode("latin-1")] = text.decode(encoding, errors="replace")
    return texts
