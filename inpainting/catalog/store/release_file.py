"""A model that is one file at an https address, such as that of a release."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from inpainting.catalog.inspection.files import ModelRefused, quote
from inpainting.catalog.inspection.formats.onnx_files import check_onnx_size
from inpainting.catalog.inspection.model_files import model_files
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import Source
from inpainting.catalog.store.converted_networks import sha256_file
from inpainting.catalog.store.sources import (
    LocalSource,
    Manifest,
    ManifestFile,
    ModelSource,
    ModelUnavailable,
    OnBytes,
)
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence

RELEASE = "https://"
PICKLE = ".pth"
ATTEMPTS = 5
"""A download fails after as many in succession, counted anew from one that received bytes."""
PAUSE_SECONDS = 1.0
URL = re.compile(
    r"https://[^#\s]+/(?P<name>[\w.-]+\.(?:onnx|pth))(?:#(?:sha256=(?P<sha256>[0-9a-f]{64})|md5=(?P<md5>[0-9a-f]{32})))?"
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
            sentence(
                "{url} is no https address of an .onnx or {suffix} file, with “#sha256=…” or "
                "“#md5=…” at its end or without.",
                url=quote(url),
                suffix=PICKLE,
            )
        )
    if match["name"].endswith(PICKLE) and match["sha256"] is None:
        raise ModelRefused(
            sentence(
                "{url} is the address of a pickle, which is taken with “#sha256=…” at its end alone.", url=quote(url)
            )
        )
    return match["name"], match["sha256"] or "", match["md5"] or ""


def url_source(url: str, open_remote: OpenRemote) -> ModelSource:
    """Return the source of the file at an address. Raises ModelRefused for another kind of address."""
    source = UrlSource(url, open_remote)
    return UnpickledSource(source) if source.name.endswith(PICKLE) else source


class UnpickledSource:
    """A pickle at an address, which is downloaded, compared with its hash and written as safetensors for its manifest:
    only then the size of what is installed is known."""

    def __init__(self, remote: UrlSource) -> None:
        self.remote = remote
        self.local: LocalSource | None = None

    def manifest(self, model: InferenceModel) -> Manifest:
        with TemporaryDirectory(prefix="dreamlayer-") as folder:
            path = Path(folder, self.remote.name)
            self.remote.fetch(model.repo, "", self.remote.promised(), path, lambda count: None)
            if sha256_file(path) != self.remote.sha256:
                raise ModelRefused(
                    sentence(
                        "{file} is not what was promised: its hash differs. Nothing was installed.", file=path.name
                    )
                )
            self.local = LocalSource(path)
            return replace(self.local.manifest(model), source=Source.URL)

    def fetch(self, repo: str, revision: str, file: ManifestFile, target: Path, on_bytes: OnBytes) -> None:
        if self.local is None:
            raise ModelUnavailable(sentence("The manifest of a pickle comes first."))
        self.local.fetch(repo, revision, file, target, on_bytes)


class UrlSource:
    """One file at an address. Raises ModelRefused for another kind of address."""

    def __init__(self, url: str, open_remote: OpenRemote) -> None:
        self.url = url.partition("#")[0]
        self.name, self.sha256, self.md5 = release(url)
        self.open_remote = open_remote

    def manifest(self, model: InferenceModel) -> Manifest:
        model_files([self.name], model.family, "", dict)
        return Manifest(Source.URL, "", (self.promised(),))

    def promised(self) -> ManifestFile:
        """Return the file with the size that its server states. Raises ModelRefused for a large one."""
        with self.open_remote(self.url, 0) as remote:
            size = remote.size
        check_onnx_size(self.name, size)
        return ManifestFile(self.name, size, sha256=self.sha256, md5=self.md5)

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
        raise ModelUnavailable(
            sentence(
                "The download from {url} ended after {present} of {size} bytes.",
                url=self.url,
                present=file.size - missing,
                size=file.size,
            )
        )
