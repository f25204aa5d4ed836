"""The bundle of the editor: loaded where it was made of the present modules, and complete."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dreamlayer_site.templatetags import import_map
from tests.support.installation import ROOT

MODULES = ROOT / "static" / "js"
IMPORTED = re.compile(r"""^(?:import|export) (?:[^"\n]* from )?"([^".]+)"$|\bimport\("([^".]+)"\)""", re.MULTILINE)
"""A module that is loaded together with another, or by a call."""


@pytest.fixture
def bundled(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """A folder of static files with two modules, and a bundle of one of them."""
    settings.BASE_DIR, settings.STATIC_URL = tmp_path, "/static/"
    static = tmp_path / "static"
    modules = {"js/editor/app.js": "app", "js/site.js": "site"}
    for name, content in {**modules, "bundle/editor/app.js": "all of it"}.items():
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        (static / name).write_text(content)
    (static / "bundle" / "sources.sha256").write_text(sha256("".join(modules.values()).encode()).hexdigest() + "\n")
    import_map.bundle_is_current.cache_clear()
    yield static
    import_map.bundle_is_current.cache_clear()


def test_the_bundle_is_loaded_in_the_place_of_its_modules(bundled: Path) -> None:
    assert import_map.module_url("editor/app") == "/static/bundle/editor/app.js"
    assert import_map.module_url("site") == "/static/js/site.js"
    assert import_map.module("editor/app") == '<script type="module" src="/static/bundle/editor/app.js"></script>'


def test_modules_are_loaded_singly_if_one_was_changed_since(bundled: Path) -> None:
    (bundled / "js" / "site.js").write_text("changed")
    assert import_map.module_url("editor/app") == "/static/js/editor/app.js"


def test_modules_are_loaded_singly_while_they_are_edited(bundled: Path, settings: Any) -> None:
    settings.DEBUG = True
    assert import_map.module_url("editor/app") == "/static/js/editor/app.js"


def test_modules_are_loaded_singly_without_a_bundle(bundled: Path) -> None:
    shutil.rmtree(bundled / "bundle")
    assert import_map.module_url("editor/app") == "/static/js/editor/app.js"


def test_the_bundle_leaves_out_what_every_page_loads() -> None:
    """Else the editor would have these modules, and what they remember, twice."""
    found: set[str] = set()
    unread = ["site"]
    while unread:
        text = (MODULES / f"{unread.pop()}.js").read_text()
        names = {name for match in IMPORTED.findall(text) for name in match if name}
        unread += names - found
        found |= names
    command = json.loads((ROOT / "package.json").read_text())["scripts"]["bundle"]
    assert set(re.findall(r"--external:(\S+)", command)) == found
