"""The Hugging Face hub, through its own library. Only commands use it: processes that serve requests stay offline."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tqdm.auto import tqdm

from inpainting.catalog.inspection.adapter_files import adapter_files
from inpainting.catalog.inspection.files import INDEX, MAX_JSON_BYTES, ONNX, ModelRefused, json_object
from inpainting.catalog.inspection.formats.onnx_files import check_onnx_size
from inpainting.catalog.inspection.lora_files import lora_file
from inpainting.catalog.inspection.model_files import model_files
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.shipped import SAFETENSORS_REVISIONS
from inpainting.catalog.specs import REVISION, Kind, Source
from inpainting.catalog.store.sources import Manifest, ManifestFile, ModelUnavailable, OnBytes
from inpainting.core.sentences import sentence

ATTEMPTS = 5
"""Times that an interrupted download is resumed, besides the retries of the hub's library."""
PAUSE_SECONDS = 1.0


def go_online() -> None:
    """Allow this process to use the hub, before it loads the library: the settings keep every other process offline."""
    os.environ["HF_HUB_OFFLINE"] = "0"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def check_repo(repo: str) -> None:
    """Refuse text that is no name of a repository on the hub. Raises ModelRefused."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo) or "--" in repo or ".." in repo:
        raise ModelRefused(
            sentence("“{repo}” is no repository on the hub; their names are owner/name.", repo=repo[:100])
        )


class HubSource:
    """Repositories on the hub. HF_ENDPOINT names another hub than huggingface.co, HF_TOKEN opens gated repositories."""

    def __init__(self) -> None:
        self.endpoint = os.environ.get("HF_ENDPOINT") or None

    def manifest(self, model: InferenceModel) -> Manifest:
        wanted = model.revision or SAFETENSORS_REVISIONS.get(model.repo, "")
        revision, siblings, licence = self.listing(model.repo, wanted)
        if model.kind == Kind.CHECKPOINT:
            size = (siblings[INDEX].size or 0) if INDEX in siblings else 0
            read_index = partial(self.index, model.repo, revision, size)
            names = model_files(siblings, model.family, model.variant, read_index)
        else:
            names = adapter_files(siblings, Kind(model.kind), model.family, model.variant)
        for name in names:
            if name.endswith(ONNX):
                check_onnx_size(name, siblings[name].size or 0)
        return Manifest(Source.HUB, revision, tuple(promised_file(siblings[name]) for name in names), licence=licence)

    def lora_manifest(self, lora: Lora, name: str) -> Manifest:
        """Return one file of a LoRA's repository: the one of that name, or the only safetensors file for ""."""
        revision, siblings, licence = self.listing(lora.repo, lora.revision)
        file = promised_file(siblings[lora_file(siblings, name)])
        return Manifest(Source.HUB, revision, (file,), licence=licence)

    def listing(self, repo: str, revision: str) -> tuple[str, dict[str, Any], str]:
        """Return the commit hash of a revision ("" is the newest), its files with size and hash, and the licence."""
        check_repo(repo)
        with translate_errors(repo):
            from huggingface_hub import HfApi

            info = HfApi(endpoint=self.endpoint).model_info(repo, revision=revision or None, files_metadata=True)
        commit = info.sha or ""
        if not re.match(REVISION, commit) or (revision and commit != revision):
            raise ModelRefused(
                sentence("The hub answered with revision “{revision}”, which was not requested.", revision=commit[:80])
            )
        licence = getattr(info.card_data, "license", None) or ""
        return commit, {sibling.rfilename: sibling for sibling in info.siblings or ()}, str(licence)

    def index(self, repo: str, revision: str, size: int) -> dict[str, Any]:
        """Download the model_index.json of a repository."""
        if size > MAX_JSON_BYTES:
            raise ModelRefused(sentence("{file} is larger than {most} MB.", file=INDEX, most=MAX_JSON_BYTES // 2**20))
        with TemporaryFile() as file:
            self.append(repo, revision, INDEX, file, size, lambda count: None)
            file.seek(0)
            return json_object(file.read(), INDEX)

    def fetch(self, repo: str, revision: str, file: ManifestFile, target: Path, on_bytes: OnBytes) -> None:
        with target.open("ab") as opened:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self.append(repo, revision, file.name, opened, file.size, on_bytes)
                    return
                except ModelUnavailable:
                    if attempt == ATTEMPTS:
                        raise
                    time.sleep(PAUSE_SECONDS * attempt)

    def append(self, repo: str, revision: str, name: str, file: IO[bytes], size: int, on_bytes: OnBytes) -> None:
        """Append to an open file what is missing of `size` bytes."""
        with translate_errors(repo):
            from huggingface_hub import hf_hub_url
            from huggingface_hub.file_download import http_get
            from huggingface_hub.utils._headers import build_hf_headers

            http_get(
                hf_hub_url(repo, name, revision=revision, endpoint=self.endpoint),
                file,  # type: ignore[arg-type]  # typing.BinaryIO, which is the same thing
                resume_size=file.seek(0, os.SEEK_END),
                # identity: the bytes that were hashed, not a compressed form of them
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                expected_size=size,
                displayed_filename=name,
                tqdm_class=reporting_bar(on_bytes),
            )
            file.flush()


def promised_file(sibling: Any) -> ManifestFile:
    """Return a file of the hub's listing with its hash. Raises ModelRefused where size or hash are missing."""
    sha256 = sibling.lfs.sha256 if sibling.lfs else ""
    if sibling.size is None or not (sha256 or sibling.blob_id):
        raise ModelRefused(sentence("The hub gives neither size nor hash of {file}.", file=sibling.rfilename))
    return ManifestFile(sibling.rfilename, sibling.size, sha256=sha256, git_sha1="" if sha256 else sibling.blob_id)


def reporting_bar(on_bytes: OnBytes) -> type[tqdm]:
    """Return a progress bar class for the library, shown on terminals, that also calls `on_bytes`."""

    class Bar(tqdm):  # type: ignore[misc]  # tqdm ships no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)  # of the library's own kind of bar
            super().__init__(*args, **{**kwargs, "disable": None})

        def update(self, n: float | None = 1) -> bool | None:
            on_bytes(int(n or 0))
            return super().update(n)

    return Bar


@contextmanager
def translate_errors(repo: str) -> Iterator[None]:
    """Raise the library's errors as ModelUnavailable, each with what helps."""
    try:
        import httpx2
        from huggingface_hub import errors
    except ImportError as error:
        raise ModelUnavailable(
            sentence("The hub's library is not installed; “make install” without LIGHT=1 adds it.")
        ) from error
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelUnavailable(
            sentence("{repo} is gated: accept its licence on its page, then set HF_TOKEN.", repo=repo)
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelUnavailable(
            sentence("The hub has no {repo}, or it is private; HF_TOKEN opens your own.", repo=repo)
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelUnavailable(sentence("{repo} does not have the pinned revision.", repo=repo)) from error
    except errors.HfHubHTTPError as error:
        raise ModelUnavailable(
            sentence("The hub answered with status {status} for {repo}.", status=error.response.status_code, repo=repo)
        ) from error
    except (httpx2.HTTPError, OSError) as error:
        raise ModelUnavailable(
            sentence(
                "The hub cannot be reached for {repo}: {reason}", repo=repo, reason=str(error).splitlines()[0][:200]
            )
        ) from error
