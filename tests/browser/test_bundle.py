"""The editor works with its modules joined into one file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.editor_page import generate, open_photo, paint_line
from tests.support.installation import ROOT

pytestmark = pytest.mark.browser
ESBUILD = ROOT / "node_modules" / ".bin" / "esbuild"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `npm run bundle` has made of a copy of the modules."""
    if not ESBUILD.exists():
        pytest.skip("esbuild is not installed: npm ci")
    folder = tmp_path_factory.mktemp("bundle")
    shutil.copytree(ROOT / "static" / "js", folder / "static" / "js")
    command = json.loads((ROOT / "package.json").read_text())["scripts"]["bundle"]
    path = f"{ESBUILD.parent}:{os.environ['PATH']}"
    subprocess.run(command, shell=True, cwd=folder, check=True, env={**os.environ, "PATH": path})  # noqa: S602
    return folder / "static" / "bundle"


def test_the_editor_paints_with_its_bundle(page: Page, photo_file: Path, bundle: Path) -> None:
    page.goto("about:blank")  # the editor of the fixture may be loading the modules of its worker
    asked: list[str] = []
    for name in ("editor/app", "editor/raster/worker"):
        address = re.compile(rf"/static/js/{name}\b[^/]*\.js")
        page.route(address, lambda route, _request, name=name: route.fulfill(path=bundle / f"{name}.js"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/")
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    generate(page)
    expect(page.locator("#figure-outside")).to_have_text("0")
    page.keyboard.press("Control+k")  # loaded by a call of `import`
    expect(page.get_by_label("Find a command")).to_be_visible()
    scripts = [url for url in asked if "/static/js/editor/" in url]
    assert len(scripts) == 3, scripts  # with the module that every page loads
