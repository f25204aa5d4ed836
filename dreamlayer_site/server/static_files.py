"""The static files as they are served: named by a hash of their content, and compressed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, staticfiles_storage
from django.core.management import call_command
from servestatic.compress import Compressor
from servestatic.storage import CompressedManifestStaticFilesStorage

UNUSED = ["rest_framework", "redoc"]
"""Folders of packages that no page loads."""
DIGEST = "sources.sha256"
LARGEST_FOR_BROTLI = 50_000
"""Bytes. Brotli makes scripts a seventh smaller than gzip, but it would take ten seconds for the few large files of
packages, such as Swagger UI."""


class StaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it has no types
    """Hashed names also where a script imports another by a relative path, as workers do: they have no import map.

    Django's `support_js_module_import_aggregation` takes import("name") for a path too, and requires semicolons.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("*.js", ((r"""(?P<matched>\bfrom "(?P<url>\.\.?/[^"]+\.js)")""", 'from "%(url)s"'),)),
    )
    max_post_process_passes = 10  # imports of imports

    def create_compressor(self, **options: Any) -> StaticFilesCompressor:
        return StaticFilesCompressor(**options)


class StaticFilesCompressor(Compressor):  # type: ignore[misc]  # it has no types
    """Compresses by gzip, and all but large files by Brotli too."""

    def compress_brotli(self, data: bytes) -> bytes:
        compressed: bytes = data if len(data) > LARGEST_FOR_BROTLI else super().compress_brotli(data)
        return compressed  # unchanged data is not kept


def build_static_files() -> None:
    """Collect the static files into STATIC_ROOT, unless that was done since they last changed.

    Files of earlier versions stay, for pages that browsers have open. With DEBUG the source files are served instead.
    """
    if settings.DEBUG:
        return
    collected, digest = Path(settings.STATIC_ROOT, DIGEST), sources_digest()
    if collected.exists() and collected.read_text() == digest:
        return
    collected.unlink(missing_ok=True)
    for name in cast("ManifestStaticFilesStorage", staticfiles_storage).hashed_files:
        staticfiles_storage.delete(name)  # collectstatic would keep a copy that is newer than its source
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=[*UNUSED])
    collected.write_text(digest)


def sources_digest() -> str:
    """Return a SHA-256 of the names, sizes and times of all source files; reading their content would take longer."""
    digest = hashlib.sha256()
    for finder in finders.get_finders():
        for name, storage in finder.list(UNUSED):
            about = os.stat(storage.path(name))
            digest.update(f"{name} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()
