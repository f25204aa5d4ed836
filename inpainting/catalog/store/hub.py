"""The Hugging Face hub, asked by its own library: in commands alone, for whatever serves never reaches out."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tqdm.auto import tqdm

from inpainting.catalog import families
from inpainting.catalog.families import OnnxLayout, SafetyCheckerLayout
from inpainting.catalog.inspection.adapter_files import wanted_part
from inpainting.catalog.inspection.lora_files import wanted_lora
from inpainting.catalog.inspection.model_files import (
    INDEX,
    MAX_JSON_BYTES,
    ModelRefused,
    check_onnx_size,
    json_object,
    wanted_checker_files,
    wanted_files,
    wanted_onnx,
)
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.specs import REVISION, Kind, Source
from inpainting.catalog.store.sources import ModelUnavailable, Offer, OfferedFile, OnBytes

ATTEMPTS = 5
"""Times that a file is taken up again where the line broke, besides those of the hub's library itself."""
PAUSE_SECONDS = 1.0


def go_online() -> None:
    """For a process that pulls, before it loads the hub's library: the settings keep every other process offline."""
    os.environ["HF_HUB_OFFLINE"] = "0"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def check_repo(repo: str) -> None:
    """Raises ModelRefused for what is no name of a repository of the hub."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo) or "--" in repo or ".." in repo:
        raise ModelRefused(f"“{repo[:100]}” is no repository of the hub; those are called owner/name.")


class HubSupply:
    """HF_ENDPOINT names another hub than huggingface.co, HF_TOKEN opens repositories that ask for one."""

    def __init__(self) -> None:
        self.endpoint = os.environ.get("HF_ENDPOINT") or None

    def offer(self, model: InferenceModel) -> Offer:
        revision, listed, licence = self.listed(model.repo, model.revision)
        files = tuple(offered(listed[name]) for name in self.wanted(model, revision, listed))
        return Offer(Source.HUB, revision, files, licence=licence)

    def offer_lora(self, lora: Lora, name: str) -> Offer:
        """One file of its repository: the one of that name, or the only one that may be meant where it is empty."""
        revision, listed, licence = self.listed(lora.repo, lora.revision)
        file = offered(listed[wanted_lora(listed, name)])
        return Offer(Source.HUB, revision, (file,), licence=licence)

    def listed(self, repo: str, revision: str) -> tuple[str, dict[str, Any], str]:
        """The commit hash of a revision ("" is the newest), what the hub tells of each of its files, the licence."""
        check_repo(repo)
        with translated(repo):
            from huggingface_hub import HfApi

            info = HfApi(endpoint=self.endpoint).model_info(repo, revision=revision or None, files_metadata=True)
        found = info.sha or ""
        if not re.match(REVISION, found) or (revision and found != revision):
            raise ModelRefused(f"The hub says that this is revision “{found[:80]}”, which was not asked for.")
        licence = getattr(info.card_data, "license", None) or ""
        return found, {sibling.rfilename: sibling for sibling in info.siblings or ()}, str(licence)

    def wanted(self, model: InferenceModel, revision: str, listed: Mapping[str, Any]) -> list[str]:
        """Which of the repository's files are the model."""
        if model.kind != Kind.CHECKPOINT:
            return wanted_part(listed, Kind(model.kind), model.family, model.variant)
        layout = families.get(model.family).layout
        if isinstance(layout, OnnxLayout):
            name = wanted_onnx((name for name in listed if "/" not in name), model.variant)
            check_onnx_size(name, listed[name].size or 0)
            return [name]
        if isinstance(layout, SafetyCheckerLayout):
            return wanted_checker_files(listed, model.variant)
        if INDEX not in listed:
            raise ModelRefused(f"{model.repo} holds no {INDEX}, so it is no model in diffusers' layout.")
        index = self.index(model.repo, revision, listed[INDEX].size or 0)
        return wanted_files(listed, index, model.variant, model.family)

    def index(self, repo: str, revision: str, size: int) -> dict[str, Any]:
        if size > MAX_JSON_BYTES:
            raise ModelRefused(f"{INDEX} is larger than {MAX_JSON_BYTES // 2**20} MB.")
        with TemporaryFile() as file:
            self.get(repo, revision, INDEX, file, size, lambda count: None)
            file.seek(0)
            return json_object(file.read(), INDEX)

    def fetch(self, model: InferenceModel, offer: Offer, file: OfferedFile, part: Path, on_bytes: OnBytes) -> None:
        self.bring(model.repo, offer.revision, file, part, on_bytes)

    def bring(self, repo: str, revision: str, file: OfferedFile, part: Path, on_bytes: OnBytes) -> None:
        """One file of a repository to `part`, as `fetch`."""
        with part.open("ab") as opened:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self.get(repo, revision, file.name, opened, file.size, on_bytes)
                    return
                except ModelUnavailable:
                    if attempt == ATTEMPTS:
                        raise
                    time.sleep(PAUSE_SECONDS * attempt)

    def get(self, repo: str, revision: str, name: str, file: IO[bytes], size: int, on_bytes: OnBytes) -> None:
        """Append to an opened file what is missing of `size` bytes."""
        with translated(repo):
            from huggingface_hub import hf_hub_url
            from huggingface_hub.file_download import http_get
            from huggingface_hub.utils._headers import build_hf_headers

            http_get(
                hf_hub_url(repo, name, revision=revision, endpoint=self.endpoint),
                file,  # type: ignore[arg-type]  # typing.BinaryIO, which is the same thing
                resume_size=file.seek(0, os.SEEK_END),
                # identity: the bytes that were hashed, not a packed form of them
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                expected_size=size,
                displayed_filename=name,
                tqdm_class=bar_that_tells(on_bytes),
            )
            file.flush()


def offered(sibling: Any) -> OfferedFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else ""
    if sibling.size is None or not (sha256 or sibling.blob_id):
        raise ModelRefused(f"The hub tells neither size nor hash of {sibling.rfilename}.")
    return OfferedFile(sibling.rfilename, sibling.size, sha256=sha256, git_sha1="" if sha256 else sibling.blob_id)


def bar_that_tells(on_bytes: OnBytes) -> type[tqdm]:
    """The library's progress bar, shown where somebody looks at a terminal, which also tells us."""

    class Bar(tqdm):  # type: ignore[misc]  # tqdm brings no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)  # of the library's own kind of bar
            super().__init__(*args, **{**kwargs, "disable": None})

        def update(self, n: float | None = 1) -> bool | None:
            on_bytes(int(n or 0))
            return super().update(n)

    return Bar


@contextmanager
def translated(repo: str) -> Iterator[None]:
    """The library's errors as ours, each with what helps."""
    try:
        import httpx2
        from huggingface_hub import errors
    except ImportError as error:
        raise ModelUnavailable("The hub's library is not installed; “make install” without LIGHT=1 does it.") from error
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelUnavailable(f"{repo} wants its licence accepted on its page; then set HF_TOKEN.") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelUnavailable(f"The hub has no {repo}, or it is not public; HF_TOKEN opens what is yours.") from error
    except errors.RevisionNotFoundError as error:
        raise ModelUnavailable(f"{repo} does not have the pinned revision.") from error
    except errors.HfHubHTTPError as error:
        raise ModelUnavailable(f"The hub answered with status {error.response.status_code} for {repo}.") from error
    except (httpx2.HTTPError, OSError) as error:
        raise ModelUnavailable(f"The hub cannot be reached for {repo}: {str(error).splitlines()[0][:200]}") from error
