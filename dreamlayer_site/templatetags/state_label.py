"""`{{ status|state_label }}`: the words of the pages for the state of a generation or of an item of a batch."""

from __future__ import annotations

from django import template

from inpainting.web.state_labels import STATE_LABELS

register = template.Library()


@register.filter
def state_label(state: str) -> str:
    return str(STATE_LABELS[state])
