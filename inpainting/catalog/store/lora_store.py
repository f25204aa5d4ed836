"""LoRAs from local files or the hub: copied, checked to the last number, moved into place together with their row."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import transaction

from inpainting.catalog.inspection.files import CHUNK_BYTES, WEIGHTS
from inpainting.catalog.inspection.lora_files import MAX_LORA_BYTES, LoraRefused, check_finite, check_lora, too_large
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.store.converted_networks import sha256_file
from inpainting.catalog.store.hub import HubSource
from inpainting.catalog.store.pull import check_free_space, verify
from inpainting.catalog.store.sources import Manifest, link
from inpainting.core.sentences import sentence


def add(lora: Lora, origin: Path, *, is_linked: bool = False) -> None:
    """Save a new LoRA with a copy of its file. Raises LoraRefused, ValidationError and OSError, and then adds nothing.

    The copy is checked too: the original may change meanwhile.
    is_linked: see `LocalSource`.
    """
    check_lora(origin, lora.family)
    with stage_file(lora) as copy:
        lora.sha256, lora.size_bytes = copy_file(origin, copy, is_linked=is_linked)


def pull(lora: Lora, hub: HubSource, manifest: Manifest) -> None:
    """Save a new LoRA with the file of its repository, which must have the hash that the hub promises.

    Raises as `add`; ModelUnavailable where the download fails, ModelRefused for other bytes than promised.
    """
    (file,) = manifest.files
    if file.size > MAX_LORA_BYTES:
        raise too_large(file.name)
    lora.revision = manifest.revision
    lora.licence = lora.licence or manifest.licence
    with stage_file(lora) as copy:
        check_free_space(copy.parent, manifest)
        hub.fetch(lora.repo, manifest.revision, file, copy, lambda count: None)
        pinned = verify(copy, file, None, lambda message: None)
        lora.sha256, lora.size_bytes = pinned["sha256"], pinned["size"]


@contextmanager
def stage_file(lora: Lora) -> Iterator[Path]:
    """Yield a path to write the file to; then check it, save the row and move the file into place together."""
    parent = lora.path.parent
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".coming-") as folder:
        copy = Path(folder, lora.slug + WEIGHTS)
        yield copy
        check_lora(copy, lora.family)
        check_finite(copy)
        lora.full_clean(exclude=["family"])
        with transaction.atomic():
            lora.save(force_insert=True)
            os.replace(copy, lora.path)


def remove(lora: Lora) -> None:
    """Delete a LoRA with its file. Generations that use it already have it in memory."""
    path = lora.path
    lora.delete()
    path.unlink(missing_ok=True)


def copy_file(origin: Path, target: Path, *, is_linked: bool = False) -> tuple[str, int]:
    """Copy or link a file. Return its SHA-256 and size. Raises LoraRefused where it cannot be read."""
    if is_linked and link(origin, target):
        return sha256_file(target), target.stat().st_size
    digest, size = hashlib.sha256(), 0
    try:
        with origin.open("rb") as source, target.open("xb") as copy:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size += copy.write(chunk)
    except PermissionError as error:
        raise LoraRefused(sentence("{file} may not be read.", file=origin.name)) from error
    return digest.hexdigest(), size
