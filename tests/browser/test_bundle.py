"""The editor works with its modules joined into one file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.conftest import sign_up, watched_page
from tests.browser.editor_page import generate, open_photo, paint_line
from tests.support.installation import ROOT, Installation

pytestmark = pytest.mark.browser
ESBUILD = ROOT / "node_modules" / ".bin" / "esbuild"
MOST_REQUESTS, MOST_KB = 40, 200
"""Of the first visit to the editor, as they are transferred: compressed, with their headers."""
SERVED = ("accounts", "dreamlayer_site", "inpainting", "locale", "static", "templates")
"""The folders of the program."""


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


@pytest.fixture(scope="module")
def site_with_bundle(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("program")
    for name in SERVED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "bundle"))
    shutil.copytree(bundle, folder / "static" / "bundle")
    for name in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    site = Installation(tmp_path_factory.mktemp("data"))
    site.root = folder
    site.migrate()
    with site.serving():
        yield site


def test_the_first_visit_to_the_editor_is_small(browser: Browser, site_with_bundle: Installation) -> None:
    registered = browser.new_context(base_url=site_with_bundle.url)
    sign_up(registered.new_page())
    context = browser.new_context(base_url=site_with_bundle.url, storage_state=registered.storage_state())
    registered.close()
    sizes: list[tuple[int, str]] = []
    finished: list[Request] = []
    for page in watched_page(context):
        context.on("requestfinished", lambda request: finished.append(request))
        page.goto("/")
        page.wait_for_selector("#editor[data-ready]")
        page.wait_for_load_state("networkidle")
        for request in finished:
            parts = request.sizes()
            sizes.append((parts["responseHeadersSize"] + parts["responseBodySize"], request.url))
    total = sum(size for size, _ in sizes) / 1000
    print(f"\n{len(sizes)} requests, {total:.0f} KB; the largest:")
    for size, url in sorted(sizes, reverse=True)[:8]:
        print(f"{size / 1000:6.1f} KB  {url.removeprefix(site_with_bundle.url)}")
    assert [url for _, url in sizes if "/static/bundle/editor/app" in url], "the bundle is what is loaded"
    assert len(sizes) <= MOST_REQUESTS
    assert total <= MOST_KB


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
