"""The page's JavaScript modules, from the folder `static/js`: `{% import_map %}` names all of them, and
`{% module "editor/app" %}` loads one.

`make bundle` joins the modules of the editor into one file, which is loaded in their place as long as it was made of
these sources.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dreamlayer_site.language import catalog_url

register = template.Library()


@register.inclusion_tag("includes/import_map.html", takes_context=True)
def import_map(context: template.Context) -> dict[str, Any]:
    """Map each module, by its path below `static/js` without the suffix, to its URL: `editor/tools/brush`.

    On pages in another language than English, the sentences of the modules are loaded before them.
    """
    return {"imports": imports(settings.STATIC_URL), "request": context["request"], "catalog_url": catalog_url()}


@cache
def imports(static_url: str) -> SafeString:
    """Return the entries, which a process reads once: looking up a hundred URLs takes a third of the time of a small
    page.

    static_url: of all static files, with the path below which the site is served.
    """
    modules = ((name, module_url(name)) for name in module_names())
    return format_html_join(",\n    ", '"{}": "{}"', modules)


@register.simple_tag
def module(name: str) -> SafeString:
    """Load a module, by its name in the import map."""
    return format_html('<script type="module" src="{}"></script>', module_url(name))


def module_url(name: str) -> str:
    """Return the URL of a module: that of its bundle where there is one."""
    static_root = Path(settings.BASE_DIR, "static")
    is_bundled = (static_root / "bundle" / f"{name}.js").exists() and bundle_is_current(static_root)
    return static(f"{'bundle' if is_bundled else 'js'}/{name}.js")


@cache
def bundle_is_current(static_root: Path) -> bool:
    """Return whether the bundles were made of the modules that are there now. With DEBUG, modules are edited.

    static_root: of the source files.
    """
    noted = static_root / "bundle" / "sources.sha256"
    if settings.DEBUG or not noted.exists():
        return False
    names = sorted(path.relative_to(static_root).as_posix() for path in (static_root / "js").rglob("*.js"))
    sources = b"".join((static_root / name).read_bytes() for name in names)
    return noted.read_text().strip() == hashlib.sha256(sources).hexdigest()


def module_names() -> list[str]:
    folder = Path(settings.BASE_DIR, "static", "js")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.js"))
