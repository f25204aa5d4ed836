"""Static files: hashed names that browsers keep, compressed, made when the server starts."""

from __future__ import annotations

import gzip
import json
import re
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import brotli
import pytest
from django.contrib.staticfiles.storage import staticfiles_storage

from dreamlayer_site.server.static_files import build_static_files
from tests.support.installation import Installation

HASHED = r"\.[0-9a-f]{12}\."
YEAR_SECONDS = 31_536_000


def fetched(site: Installation, path: str, encoding: str = "gzip") -> tuple[Message, bytes]:
    request = urllib.request.Request(site.url + path, headers={"Accept-Encoding": encoding})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers, answer.read()


def fetched_text(site: Installation, path: str) -> str:
    _, body = fetched(site, path)
    return (gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body).decode()


def max_age(headers: Message) -> int:
    found = re.search(r"max-age=(\d+)", headers["Cache-Control"])
    assert found
    return int(found[1])


def test_every_static_file_of_a_page_has_a_hashed_name_and_is_kept_by_browsers(site: Installation) -> None:
    page = fetched_text(site, "/accounts/login/")
    found = re.search(r'<script type="importmap"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found
    modules = json.loads(found[1])["imports"]
    assert {"site", "format"} <= set(modules)
    addresses = {*modules.values(), *re.findall(r'(?:href|src)="(/static/[^"#]+)', page)}
    assert any(address.endswith(".css") for address in addresses)
    for address in addresses:
        assert re.search(HASHED, address), address
        headers, body = fetched(site, address)
        assert "immutable" in headers["Cache-Control"]
        assert max_age(headers) >= YEAR_SECONDS
        if len(body) > 500 and not address.endswith(".png"):
            assert headers["Content-Encoding"] == "gzip", address
            assert len(body) < 0.7 * len(gzip.decompress(body))


def test_a_script_is_smaller_by_brotli_where_the_browser_takes_it(site: Installation) -> None:
    page = fetched_text(site, "/accounts/login/")
    address = re.findall(r'"(/static/js/site\.[^"]+)"', page)[0]
    _, by_gzip = fetched(site, address)
    headers, by_brotli = fetched(site, address, "gzip, br")
    assert headers["Content-Encoding"] == "br"
    assert brotli.decompress(by_brotli) == gzip.decompress(by_gzip)
    assert len(by_brotli) < 0.95 * len(by_gzip)


def test_a_large_file_is_compressed_by_gzip_alone(site: Installation) -> None:
    bundle = staticfiles_storage.url("drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js")
    _, body = fetched(site, bundle, "br, gzip")
    assert body.startswith(b"\x1f\x8b")


def test_the_modules_of_a_worker_are_imported_by_the_names_that_pages_import(site: Installation) -> None:
    page = fetched_text(site, "/accounts/login/")
    found = re.search(r'<script type="importmap"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found
    modules = json.loads(found[1])["imports"]
    waiting, seen = [modules["editor/raster/worker"]], set[str]()
    while waiting:
        address = waiting.pop()
        script = fetched_text(site, address)
        imported = {urljoin(address, path) for path in re.findall(r'\bfrom "([^"]+)"', script)}
        waiting += imported - seen
        seen |= imported
    assert {modules["editor/raster/tiles"], modules["editor/document/operations"]} <= seen <= set(modules.values())


def test_plain_names_are_served_for_a_short_time(site: Installation) -> None:
    headers, body = fetched(site, "/static/css/dreamlayer.css")
    assert "immutable" not in headers["Cache-Control"]
    assert max_age(headers) <= 60
    assert b":root" in gzip.decompress(body)


@pytest.fixture
def source(settings: Any, tmp_path: Path) -> Path:
    """A script, the only static file."""
    folder = tmp_path / "source"
    folder.mkdir()
    settings.STATICFILES_DIRS = [folder]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATIC_ROOT = tmp_path / "collected"
    settings.STATIC_ROOT.mkdir()
    backend = "dreamlayer_site.server.static_files.StaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}
    script = folder / "a.js"
    script.write_text("const painted = true\n" * 100)
    return script


def test_the_files_are_made_again_only_after_a_change(source: Path, settings: Any) -> None:
    build_static_files()
    first = staticfiles_storage.url("a.js")
    assert (settings.STATIC_ROOT / first.removeprefix("/static/")).with_suffix(".js.gz").exists()
    (settings.STATIC_ROOT / "a.js").unlink()
    build_static_files()
    assert not (settings.STATIC_ROOT / "a.js").exists(), "nothing had changed"
    source.write_text("const painted = false\n" * 100)
    build_static_files()
    assert staticfiles_storage.url("a.js") != first
    assert (settings.STATIC_ROOT / first.removeprefix("/static/")).exists(), "open pages still load it"


def test_a_build_that_was_interrupted_is_repeated(source: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    build_static_files()
    source.write_text("const painted = 0")
    with monkeypatch.context() as patched:
        patched.setattr("dreamlayer_site.server.static_files.call_command", fail)
        with pytest.raises(OSError, match="No space left"):
            build_static_files()
    build_static_files()
    assert (settings.STATIC_ROOT / "a.js").read_text() == "const painted = 0"
