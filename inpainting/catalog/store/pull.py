"""Get a model's files: fetched into a staging folder, hashes checked, pinned, examined, and moved into place whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template.defaultfilters import filesizeformat

from inpainting.catalog.inspection.model_files import ModelRefused, installed_weights
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import Source
from inpainting.catalog.store import converted_networks
from inpainting.catalog.store.sources import (
    CHUNK_BYTES,
    ModelUnavailable,
    Offer,
    OfferedFile,
    Supply,
    check_installable,
)
from inpainting.core.errors import PaintingError

STAGING = ".staging"
"""Beside the models: no slug begins with a full stop, and a rename within one disk moves a folder at once."""
NEWS_SECONDS = 1.0


class PullLost(Exception):
    """Another process has begun to pull this model, because ours showed no progress for long."""


def begin_elsewhere(model: InferenceModel) -> bool:
    """Start `pull_model` as a process of its own, which outlives us. False: the model is being pulled already.

    Raises ModelUnavailable where it cannot start; the row says so then.
    """
    if not model.start_pull():
        return False
    try:
        start_process(model)
    except OSError as error:
        reason = f"Getting it could not begin: {error.strerror or error}."
        model.fail_pull(reason)
        raise ModelUnavailable(reason) from error
    return True


def start_process(model: InferenceModel) -> None:
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


def pull(model: InferenceModel, supply: Supply, offer: Offer) -> None:
    """Bring what was offered into place; the caller has begun the pull (`start_pull`), and this ends it.

    Raises ModelUnavailable and ModelRefused, after which nothing is installed that was not before and what has come is
    kept for the next try; PullLost where somebody else has taken over.
    """
    try:
        bring(model, supply, offer)
    except PaintingError as error:
        model.fail_pull(error.message)
        raise
    except OSError as error:
        model.fail_pull(f"The disk said: {error.strerror or error}.")
        raise ModelUnavailable(f"The disk said: {error.strerror or error}.") from error
    except BaseException as error:
        if not isinstance(error, PullLost):
            model.fail_pull("Interrupted; another pull goes on where this one was.")
        raise


def bring(model: InferenceModel, supply: Supply, offer: Offer) -> None:
    check_promises(model, offer)
    staging = staging_of(model) / (offer.revision or "local")
    if offer.source is not Source.HUB:
        shutil.rmtree(staging, ignore_errors=True)  # no promised hash would tell whether what lies there is still good
    staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_room(staging, offer)
    news = News(model, offer)
    files: dict[str, dict[str, Any]] = {}
    for file in offer.files:
        target = staging / file.name
        part = target.with_name(target.name + ".part")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not target.exists() or target.stat().st_size != file.size:
            target.unlink(missing_ok=True)
            if part.exists() and part.stat().st_size > file.size:
                part.unlink()
            news.add(part.stat().st_size if part.exists() else 0, f"Getting {file.name}")
            supply.fetch(model, offer, file, part, partial(news.add, message=f"Getting {file.name}"))
            files[file.name] = verified(part, file, model.files.get(file.name), news.tell)
            os.replace(part, target)
        else:
            news.add(file.size, f"Checking {file.name}")
            files[file.name] = verified(target, file, model.files.get(file.name), news.tell)
    remove_all_but(staging, files)
    if model.files and model.files.keys() != files.keys():
        raise ModelRefused(other_files(sorted(model.files.keys() ^ files.keys())[0]))
    check_installable(installed_weights(staging) or staging, model)
    if not model.pin(offer.revision, files):
        raise PullLost
    move_into_place(staging, model.place)
    shutil.rmtree(staging_of(model))
    if not model.install(offer.source):
        raise PullLost


class News:
    """Tells the row how far the pull is, about once a second."""

    def __init__(self, model: InferenceModel, offer: Offer) -> None:
        self.model, self.total = model, offer.size_bytes
        self.done, self.told_at = 0, 0.0
        self.message = ""

    def add(self, count: int, message: str) -> None:
        self.done += count
        self.tell(message)

    def tell(self, message: str) -> None:
        now = time.monotonic()
        if message == self.message and now - self.told_at < NEWS_SECONDS:
            return
        self.message, self.told_at = message, now
        if not self.model.progress(min(self.done, self.total), self.total, message):
            raise PullLost


def check_promises(model: InferenceModel, offer: Offer) -> None:
    """What the hub promises must be what was pinned; asked before anything is downloaded."""
    for file in offer.files:
        pinned = model.files.get(file.name)
        if pinned and file.sha256 and pinned["sha256"] != file.sha256:
            raise ModelRefused(other_files(file.name))


def check_room(staging: Path, offer: Offer) -> None:
    here = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    missing, free = max(0, offer.size_bytes - here), shutil.disk_usage(staging).free
    if missing > free:
        raise ModelUnavailable(f"It needs {filesizeformat(missing)} more, and {filesizeformat(free)} are free.")


def verified(
    path: Path, file: OfferedFile, pinned: Mapping[str, Any] | None, tell: Callable[[str], object]
) -> dict[str, Any]:
    """Its hash and size, as they are pinned. tell: hears what goes on.

    Raises ModelRefused for other bytes than promised, and removes them.
    """
    sha256, git_sha1 = hashlib.sha256(), hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            sha256.update(chunk)
            git_sha1.update(chunk)
            tell(f"Checking {file.name}")
    wrong = (
        path.stat().st_size != file.size
        or file.sha256 not in ("", sha256.hexdigest())
        or file.git_sha1 not in ("", git_sha1.hexdigest())
    )
    if wrong:
        path.unlink()
        raise ModelRefused(f"{file.name} is not what was promised: its hash differs. Nothing was installed.")
    if pinned and pinned["sha256"] != sha256.hexdigest():
        path.unlink()
        raise ModelRefused(other_files(file.name))
    return {"sha256": sha256.hexdigest(), "size": file.size}


def other_files(name: str) -> str:
    return (
        f"{name} is not the file that was pinned at the first pull. Nothing was installed; --repin takes the new one."
    )


def remove_all_but(staging: Path, files: Mapping[str, object]) -> None:
    for path in staging.rglob("*"):
        if path.is_file() and path.relative_to(staging).as_posix() not in files:
            path.unlink()


def move_into_place(staging: Path, place: Path) -> None:
    """A rename, after everything is on the disk; what was there before goes."""
    for path in [*staging.rglob("*"), staging]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    before = staging.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    if place.exists():
        place.rename(before)
    staging.rename(place)


def staging_of(model: InferenceModel) -> Path:
    return model.place.parent / STAGING / model.slug


def remove_files(model: InferenceModel) -> bool:
    """Take a model's files off the machine, and those made of them; its row and its pinned hashes stay.

    False: it is being pulled.
    """
    if not model.remove():
        return False
    for folder in (model.place, staging_of(model)):
        if folder.is_dir():
            shutil.rmtree(folder)
    converted_networks.forget(settings.MODELS_DIR, model.slug)
    return True
