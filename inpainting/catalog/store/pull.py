"""Install a model's files: fetch them into a staging folder, check and pin them, move them into place."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template.defaultfilters import filesizeformat

from inpainting import families
from inpainting.catalog.inspection.few_step_models import few_step_checkpoint, few_step_defaults
from inpainting.catalog.inspection.files import CHUNK_BYTES, ModelRefused, installed_weights
from inpainting.catalog.inspection.formats.checkpoint_file import configuration_folder, is_trained_to_fill
from inpainting.catalog.inspection.formats.component_file import component_file_class
from inpainting.catalog.inspection.formats.diffusers_folder import is_ignored_weight
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.catalog.store import converted_networks
from inpainting.catalog.store.sources import (
    Manifest,
    ManifestFile,
    ModelSource,
    ModelUnavailable,
    check_installable,
)
from inpainting.core.errors import PaintingError
from inpainting.core.sentences import Sentence, sentence
from inpainting.core.setting import DIFFUSION

STAGING = ".staging"
"""A folder in that of all models: no slug begins with a full stop, and a rename on one disk moves a folder at once."""
PROGRESS_SECONDS = 1.0


class PullLost(Exception):
    """Raised when another process has begun to pull this model, because this one showed no progress for long."""


def start_pull_process(model: InferenceModel) -> bool:
    """Start `pull_model` as a process that outlives this one. False: the model is being pulled already.

    Raises ModelUnavailable where it cannot start, after storing the reason in the row.
    """
    if not model.start_pull():
        return False
    try:
        spawn(model)
    except OSError as error:
        reason = sentence("The pull could not start: {reason}.", reason=error.strerror or error)
        model.fail_pull(reason)
        raise ModelUnavailable(reason) from error
    return True


def spawn(model: InferenceModel) -> None:
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "pull_model", model.slug, "--yes"]
    settings.MODELS_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.MODELS_DIR / "pull.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and file, a slug that was checked
            [*command, "--claim", str(model.fence)],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, name=f"pull of {model.slug}", daemon=True).start()  # or it stays a zombie


def pull(model: InferenceModel, source: ModelSource, manifest: Manifest) -> None:
    """Install the files of a manifest and end the pull that the caller has begun with `start_pull`.

    Raises ModelUnavailable and ModelRefused; the files of an earlier pull then stay installed, and what was fetched is
    kept for the next attempt. Raises PullLost where another process has taken over.
    """
    try:
        install(model, source, manifest)
    except PaintingError as error:
        model.fail_pull(error.message)
        raise
    except OSError as error:
        reason = sentence("The disk failed: {reason}.", reason=error.strerror or error)
        model.fail_pull(reason)
        raise ModelUnavailable(reason) from error
    except BaseException as error:
        if not isinstance(error, PullLost):
            model.fail_pull(sentence("Interrupted; the next pull resumes it."))
        raise


def install(model: InferenceModel, source: ModelSource, manifest: Manifest) -> None:
    check_promised_hashes(model, manifest)
    staging = staging_folder(model) / (manifest.revision or "local")
    if not all(file.published_hash for file in manifest.files):
        shutil.rmtree(staging, ignore_errors=True)  # older files there cannot be checked
    staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_free_space(staging, manifest)
    progress = PullProgress(model, manifest)
    files: dict[str, dict[str, Any]] = {}
    for file in manifest.files:
        target = staging / file.name
        part = target.with_name(target.name + ".part")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not target.exists() or target.stat().st_size != file.size:
            target.unlink(missing_ok=True)
            if part.exists() and part.stat().st_size > file.size:
                part.unlink()
            progress.add(part.stat().st_size if part.exists() else 0, sentence("Getting {file}", file=file.name))
            on_bytes = partial(progress.add, message=sentence("Getting {file}", file=file.name))
            source.fetch(model.repo, manifest.revision, file, part, on_bytes)
            files[file.name] = verify(part, file, model.files.get(file.name), progress.report)
            os.replace(part, target)
        else:
            progress.add(file.size, sentence("Checking {file}", file=file.name))
            files[file.name] = verify(target, file, model.files.get(file.name), progress.report)
    for path in staging.rglob("*"):
        if path.is_file() and path.relative_to(staging).as_posix() not in files:
            path.unlink()
    pinned = {name for name in model.files if not is_ignored_weight(name, model.family)}  # as pulls took them before
    if pinned and pinned != files.keys():
        raise ModelRefused(pin_mismatch(sorted(pinned ^ files.keys())[0]))
    check_installable(installed_weights(staging) or staging, model)
    if not model.pin(manifest.revision, files):
        raise PullLost
    move_into_place(staging, model.folder)
    shutil.rmtree(staging_folder(model))
    if not model.install(manifest.source, own_defaults(model)):
        raise PullLost


def own_defaults(model: InferenceModel) -> dict[str, Any]:
    """Return the defaults that an installed model's files give, without those of which the row has other than the
    usual."""
    weights, family = model.weights, families.get(model.family)
    if model.kind != Kind.CHECKPOINT or weights is None or family.engine != DIFFUSION:
        return {}
    usual = {declared.name: declared.default for declared in fields(ModelSpec)} | dict(family.defaults)

    def has_usual(*names: str) -> bool:
        return all(getattr(model, name) == usual[name] for name in names)

    found: dict[str, Any] = {}
    if has_usual("steps", "guidance_scale", "scheduler"):
        named = few_step_checkpoint(weights, model.family) if weights.is_file() else None
        folder = configuration_folder(weights) if weights.is_file() else weights
        found |= named.defaults if named else few_step_defaults(folder)
        component_file = component_file_class(model.family)
        found |= component_file.own_defaults(folder) if component_file else {}
    if has_usual("strength") and is_trained_to_fill(weights):
        found["strength"] = 1.0
    return found


class PullProgress:
    """Stores the progress of a pull in its row, about once a second."""

    def __init__(self, model: InferenceModel, manifest: Manifest) -> None:
        self.model, self.total = model, manifest.size_bytes
        self.done, self.reported_at = 0, 0.0
        self.message = ""

    def add(self, count: int, message: str) -> None:
        self.done += count
        self.report(message)

    def report(self, message: str) -> None:
        now = time.monotonic()
        if message == self.message and now - self.reported_at < PROGRESS_SECONDS:
            return
        self.message, self.reported_at = message, now
        if not self.model.progress(min(self.done, self.total), self.total, message):
            raise PullLost


def check_promised_hashes(model: InferenceModel, manifest: Manifest) -> None:
    """Refuse other hashes than the pinned ones before anything is downloaded. Raises ModelRefused."""
    for file in manifest.files:
        pinned = model.files.get(file.name)
        if pinned and file.sha256 and pinned["sha256"] != file.sha256:
            raise ModelRefused(pin_mismatch(file.name))


def check_free_space(staging: Path, manifest: Manifest) -> None:
    """Raise ModelUnavailable unless the disk has room for the files that are not fetched yet."""
    fetched = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    missing, free = max(0, manifest.size_bytes - fetched), shutil.disk_usage(staging).free
    if missing > free:
        raise ModelUnavailable(
            sentence(
                "It needs {missing} more, and {free} are free.",
                missing=filesizeformat(missing),
                free=filesizeformat(free),
            )
        )


def verify(
    path: Path, file: ManifestFile, pinned: Mapping[str, Any] | None, report: Callable[[str], object]
) -> dict[str, Any]:
    """Return a file's hash and size, to be pinned.

    report: called with a sentence while the file is read.

    Raises ModelRefused for other bytes than promised or pinned, and removes the file.
    """
    sha256, git_sha1 = hashlib.sha256(), hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            sha256.update(chunk)
            git_sha1.update(chunk)
            md5.update(chunk)
            report(sentence("Checking {file}", file=file.name))
    wrong = (
        path.stat().st_size != file.size
        or file.sha256 not in ("", sha256.hexdigest())
        or file.git_sha1 not in ("", git_sha1.hexdigest())
        or file.md5 not in ("", md5.hexdigest())
    )
    if wrong:
        path.unlink()
        raise ModelRefused(
            sentence("{file} is not what was promised: its hash differs. Nothing was installed.", file=file.name)
        )
    if pinned and pinned["sha256"] != sha256.hexdigest():
        path.unlink()
        raise ModelRefused(pin_mismatch(file.name))
    return {"sha256": sha256.hexdigest(), "size": file.size}


def pin_mismatch(name: str) -> Sentence:
    return sentence(
        "{file} is not the file that was pinned at the first pull. Nothing was installed; --repin takes the new one.",
        file=name,
    )


def move_into_place(staging: Path, folder: Path) -> None:
    """Replace a model's folder by the staging folder, after all of it is synced to the disk."""
    for path in [*staging.rglob("*"), staging]:
        converted_networks.sync(path)
    before = staging.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    staging.rename(folder)


def staging_folder(model: InferenceModel) -> Path:
    return model.folder.parent / STAGING / model.slug


def remove_files(model: InferenceModel) -> bool:
    """Delete a model's files and those converted from them; its row and its pinned hashes stay.

    False: it is being pulled.
    """
    if not model.remove():
        return False
    for folder in (model.folder, staging_folder(model)):
        if folder.is_dir():
            shutil.rmtree(folder)
    converted_networks.remove(settings.MODELS_DIR, model.slug)
    return True
