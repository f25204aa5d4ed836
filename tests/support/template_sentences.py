"""The sentences of a template that `makemessages` would not find."""

from __future__ import annotations

import re
from collections.abc import Iterator

TOKEN = re.compile(
    r"(\{%\s*blocktranslate.*?\{%\s*endblocktranslate\s*%\}|\{%\s*comment.*?\{%\s*endcomment\s*%\}"
    r"|\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\})",
    re.DOTALL,
)
"""What Django's templates are made of, besides text; a translated block is one."""
MARKUP = re.compile(
    r"<!--.*?-->|<(?P<close>/?)(?P<tag>[\w!]+)|(?P<attribute>[\w-]+)=\"(?P<value>[^\"]*)\"|>", re.DOTALL
)
FILLED = "\0"
"""Stands for a token, so that an attribute or a text remains one piece."""
SHOWN = frozenset({"alt", "aria-label", "data-alt", "data-confirm", "data-label", "placeholder", "title"})
"""Attributes that people read."""
CODE = frozenset({"code", "kbd", "pre", "script", "style"})
"""Elements whose text is the same in every language."""
NAMES = frozenset({"button", "editor-page", "API", "DreamLayer", "JPEG", "LoRAs", "PNG", "SHA-256", "WebP", "ZIP"})
LITERAL = re.compile(r"(?:default|yesno|pluralize)[\w]*:(?:\"([^\"]*)\"|'([^']*)')")
"""The argument of a filter that people read."""


def unmarked(template: str) -> Iterator[str]:
    """Yield the texts and attributes with words outside of `translate` and `blocktranslate`."""
    for token in TOKEN.findall(template):
        if not token.startswith(("{#", "{% comment")):
            for literal in LITERAL.findall(token):
                text = "".join(literal)
                if is_sentence(text) and text != "true,false" and "-" not in text:  # no id
                    yield text
    plain = TOKEN.sub(FILLED, template)
    at, code, is_in_tag = 0, "", False
    for match in MARKUP.finditer(plain):
        if not code and not is_in_tag:
            yield from filter(is_sentence, pieces(plain[at : match.start()]))
        at, tag = match.end(), match["tag"]
        is_in_tag = bool(tag) or (is_in_tag and match[0] != ">")
        if tag and match["close"]:
            code = "" if tag == code else code
        elif tag in CODE:
            code = code or tag
        if match["attribute"] in SHOWN:
            yield from filter(is_sentence, pieces(match["value"]))
    yield from filter(is_sentence, pieces(plain[at:]))


def pieces(text: str) -> list[str]:
    return [piece.strip(" \n–·,:()") for piece in text.split(FILLED)]


def is_sentence(text: str) -> bool:
    return bool(re.search(r"[A-Za-z]{2}", re.sub(r"&\w+;", "", text))) and text not in NAMES
