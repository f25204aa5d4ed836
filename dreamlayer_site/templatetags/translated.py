"""`{{ text|translated }}`: a sentence, or a marked text of a table, in the language of the page."""

from __future__ import annotations

from django import template

from inpainting.translation import translated as in_language_of_page

register = template.Library()


@register.filter
def translated(text: str) -> str:
    return in_language_of_page(text)
