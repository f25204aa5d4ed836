"""`{% import_map %}`: the import map of the page's JavaScript modules, made from the folder `static/js`."""

from __future__ import annotations

from functools import cache
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

register = template.Library()


@register.inclusion_tag("includes/import_map.html", takes_context=True)
def import_map(context: template.Context) -> dict[str, Any]:
    """Map each module, by its path below `static/js` without the suffix, to its URL: `editor/tools/brush`."""
    return {"imports": imports(settings.STATIC_URL), "request": context["request"]}


@cache
def imports(static_url: str) -> SafeString:
    """Return the entries, which a process reads once: looking up a hundred URLs takes a third of the time of a small
    page.

    static_url: of all static files, with the path below which the site is served.
    """
    modules = ((name, static(f"js/{name}.js")) for name in module_names())
    return format_html_join(",\n    ", '"{}": "{}"', modules)


def module_names() -> list[str]:
    folder = settings.BASE_DIR / "static" / "js"
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.js"))
