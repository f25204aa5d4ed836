"""`{% import_map %}`: the import map of the page's JavaScript modules, made from the folder `static/js`."""

from __future__ import annotations

from functools import cache
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import static

register = template.Library()


@register.inclusion_tag("includes/import_map.html", takes_context=True)
def import_map(context: template.Context) -> dict[str, Any]:
    """Map each module, by its path below `static/js` without the suffix, to its URL: `editor/brush`."""
    modules = [(name, static(f"js/{name}.js")) for name in module_names()]
    return {"modules": modules, "request": context["request"]}


@cache
def module_names() -> tuple[str, ...]:
    folder = settings.BASE_DIR / "static" / "js"
    return tuple(sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.js")))
