"""Sentences in the language of the response: what a page or the native API shows is translated here, and nowhere
earlier, so that rows, logs and webhooks have the English text."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, ngettext, pgettext

from inpainting.core.sentences import Sentence


def translated(text: str) -> str:
    """Return a sentence, or a marked text of a table, in the active language. Others are returned as they are."""
    if not isinstance(text, Sentence):
        return gettext(text) if text else text
    return _template(text).format(**{name: in_language(value) for name, value in text.values.items()})


def _template(text: Sentence) -> str:
    if text.context:
        return pgettext(text.context, text.template)
    return gettext(text.template) if text.many is None else ngettext(text.template, text.many, text.values["count"])


def in_language(value: Any) -> Any:
    """Return a value of a sentence, which may be another sentence."""
    return translated(value) if isinstance(value, Sentence) else value
