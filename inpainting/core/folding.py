"""Text folded for search: without case and accents."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Return the text in small letters without accents, so that “Café” is found by “cafe”.

    Unicode's compatibility decomposition without combining characters, case-folded (Unicode Standard, 3.13). What a
    text contains, the folded text contains folded.
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    folded = "".join(character for character in decomposed if not unicodedata.combining(character)).casefold()
    return "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
