"""Sentences that are translated where they are shown.

`sentence("The image is {width} wide.", width=9)` is the English text, as logs, webhooks and rows have it. It remembers
the template and what stands in it, from which the sentence is made in another language.
`makemessages` finds the literals that are given to these functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, Self


class Sentence(str):
    """An English text that was made of a template."""

    template: str
    many: str | None
    """The template for another number than one, which is the value `count`."""
    values: dict[str, Any]
    context: str
    """What tells the template from the same words with another meaning; mostly empty."""

    def __new__(
        cls, template: str, many: str | None = None, values: dict[str, Any] | None = None, context: str = ""
    ) -> Self:
        values = values or {}
        chosen = template if many is None or values["count"] == 1 else many
        text = super().__new__(cls, chosen.format(**values))
        text.template, text.many, text.values, text.context = template, many, values, context
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return Sentence, (self.template, self.many, self.values, self.context)


def mark(text: str) -> str:
    """Return a text as it is. It marks a literal, such as a label in a table, for `makemessages`."""
    return text


def pmark(context: str, text: str) -> Sentence:
    """Mark a literal whose words have other meanings elsewhere, as `pgettext` does."""
    return Sentence(text, context=context)


def sentence(template: str, /, **values: Any) -> Sentence:
    """Return a sentence with `values` in the place of `{name}`, formatted as `str.format` does."""
    return Sentence(template, None, values)


def plural_sentence(one: str, many: str, /, *, count: int, **values: Any) -> Sentence:
    """Return the sentence for one, or that for another number."""
    return Sentence(one, many, {"count": count, **values})


def either(choices: Iterable[Sentence]) -> Sentence:
    """Return the choices in one sentence: "a, or b, or c"."""
    return reduce(lambda one, other: sentence("{one}, or {other}", one=one, other=other), choices)


def every(things: Iterable[str]) -> str:
    """Return the things, which may be names, in one sentence: "a and b and c"."""
    return reduce(lambda one, other: sentence("{one} and {other}", one=one, other=other), things)


def any_of(things: Iterable[str]) -> str:
    """Return the things, which may be names, in one sentence: "a or b or c"."""
    return reduce(lambda one, other: sentence("{one} or {other}", one=one, other=other), things)


def paragraph(sentences: Iterable[str]) -> str:
    """Return whole sentences one after the other. Empty ones are left out."""
    return reduce(lambda one, other: sentence("{one} {other}", one=one, other=other), filter(None, sentences))


def parts_of(texts: Iterable[str]) -> dict[str, Any]:
    """Return what the sentences among these texts were made of, by the texts, for a column of JSON beside them."""
    return {str(text): _stored(text) for text in texts if isinstance(text, Sentence)}


def restored(text: str, parts: Mapping[str, Any] | None) -> str:
    """Return a stored text as the sentence that it was, if `parts_of` knew it."""
    stored = (parts or {}).get(text)
    return text if stored is None else _loaded(stored)


def _stored(value: Any) -> Any:
    if isinstance(value, Sentence):
        values = {name: _stored(other) for name, other in value.values.items()}
        return [value.template, value.many, values, value.context]
    return value if isinstance(value, str | int | float) else str(value)


def _loaded(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    template, many, values, context = value
    return Sentence(template, many, {name: _loaded(other) for name, other in values.items()}, context)
