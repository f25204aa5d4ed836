"""A model that is one file at an https address, such as that of a release."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from inpainting.catalog.inspection.files import ModelRefused, quote
from inpainting.catalog.inspection.model_files import model_files
from inpainting.catalog.inspection.onnx_files import check_onnx_size
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import Source
from inpainting.catalog.store.sources import Manifest, ManifestFile, ModelUnavailable, OnBytes
from inpainting.core.errors import EngineFailed

RELEASE = "https://"
ATTEMPTS = 5
"""A download fails after as many in succession, counted anew from one that received bytes."""
PAUSE_SECONDS = 1.0
URL = re.compile(
    r"https://[^#\s]+/(?P<name>[\w.-]+\.onnx)(?:#(?:sha256=(?P<sha256>[0-9a-f]{64})|md5=(?P<md5>[0-9a-f]{32})))?"
)


class Remote(Protocol):
    """The response of a server with a file."""

    @property
    def size(self) -> int:
        """The size of the whole file in bytes."""

    @property
    def body(self) -> Iterator[bytes]:
        """The bytes from the requested one on."""


OpenRemote = Callable[[str, int], AbstractContextManager[Remote]]
"""(URL, first byte) -> the file. Raises EngineFailed, also while the body is read."""


def release(url: str) -> tuple[str, str, str]:
    """Return the name of the file at an address, its SHA-256 and its MD5, "" where not stated. Raises ModelRefused."""
    match = URL.fullmatch(url)
    if match is None:
        raise ModelRefused(
            f"{quote(url)} is no https address of an .onnx file, with “#sha256=…” or “#md5=…” at its end or without."
        )
    return match["name"], match["sha256"] or "", match["md5"] or ""


class UrlSource:
    """One file at an address. Raises ModelRefused for another kind of address."""

    def __init__(self, url: str, open_remote: OpenRemote) -> None:
        self.url = url.partition("#")[0]
        self.name, self.sha256, self.md5 = release(url)
        self.open_remote = open_remote

    def manifest(self, model: InferenceModel) -> Manifest:
        model_files([self.name], model.family, "", dict)
        with self.open_remote(self.url, 0) as remote:
            size = remote.size
        check_onnx_size(self.name, size)
        return Manifest(Source.URL, "", (ManifestFile(self.name, size, sha256=self.sha256, md5=self.md5),))

    def fetch(self, repo: str, revision: str, file: ManifestFile, target: Path, on_bytes: OnBytes) -> None:
        attempt = 0
        while True:
            size_before = target.stat().st_size if target.exists() else 0
            try:
                self.append(file, target, on_bytes)
                return
            except EngineFailed as error:
                attempt = 1 if target.exists() and target.stat().st_size > size_before else attempt + 1
                if attempt == ATTEMPTS:
                    raise ModelUnavailable(error.message) from error
                time.sleep(PAUSE_SECONDS * attempt)

    def append(self, file: ManifestFile, target: Path, on_bytes: OnBytes) -> None:
        """Append the missing bytes to a file. Raises EngineFailed if the download is interrupted."""
        with target.open("ab") as opened:
            missing = file.size - opened.tell()
            if missing <= 0:
                return
            with self.open_remote(self.url, opened.tell()) as remote:
                for part in remote.body:
                    opened.write(part[:missing])
                    on_bytes(len(part[:missing]))
                    missing -= len(part)
                    if missing <= 0:
                        return
        raise ModelUnavailable(f"The download from {self.url} ended after {file.size - missing} of {file.size} bytes.")
