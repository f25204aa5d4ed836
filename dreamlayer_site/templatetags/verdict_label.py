"""`{{ verdict|verdict_label }}`: the words of the pages for a verdict that the audit log names."""

from __future__ import annotations

from django import template

from inpainting.models import Verdict

register = template.Library()


@register.filter
def verdict_label(verdict: str) -> str:
    return str(Verdict(verdict).label)
