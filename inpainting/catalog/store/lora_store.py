"""LoRAs from one's own files or the hub: copied, looked through to the last number, moved into place with their row."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import transaction

from inpainting.catalog.inspection.lora_files import MAX_LORA_BYTES, LoraRefused, check_finite, check_lora, too_large
from inpainting.catalog.inspection.model_files import WEIGHTS
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.store.hub import HubSupply
from inpainting.catalog.store.pull import check_room, verified
from inpainting.catalog.store.sources import CHUNK_BYTES, Offer


def add(lora: Lora, origin: Path) -> None:
    """Save a new LoRA with a copy of its file. Raises LoraRefused, ValidationError and OSError, and then adds nothing.

    What is looked at is the copy, which nobody changes any more.
    """
    check_lora(origin, lora.family)
    with landing(lora) as copy:
        lora.sha256, lora.size_bytes = copied(origin, copy)


def pull(lora: Lora, supply: HubSupply, offer: Offer) -> None:
    """Save a new LoRA with the file that its repository offers, by the hash that the hub promises for it.

    Raises as `add`, and ModelUnavailable and ModelRefused where it does not come, or other bytes than promised.
    """
    (file,) = offer.files
    if file.size > MAX_LORA_BYTES:
        raise too_large(file.name)
    lora.revision = offer.revision
    lora.licence = lora.licence or offer.licence
    with landing(lora) as copy:
        check_room(copy.parent, offer)
        supply.bring(lora.repo, offer.revision, file, copy, lambda count: None)
        pinned = verified(copy, file, None, lambda message: None)
        lora.sha256, lora.size_bytes = pinned["sha256"], pinned["size"]


@contextmanager
def landing(lora: Lora) -> Iterator[Path]:
    """Where its file comes to. What is there afterwards is looked at, and becomes the LoRA's together with its row."""
    home = lora.path.parent
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=home, prefix=".coming-") as folder:
        copy = Path(folder, lora.slug + WEIGHTS)
        yield copy
        check_lora(copy, lora.family)
        check_finite(copy)
        lora.full_clean(exclude=["family"])
        with transaction.atomic():
            lora.save(force_insert=True)
            os.replace(copy, lora.path)


def remove(lora: Lora) -> None:
    """Delete a LoRA with its file. Who is being painted with it is not disturbed: it is in memory."""
    path = lora.path
    lora.delete()
    path.unlink(missing_ok=True)


def copied(origin: Path, target: Path) -> tuple[str, int]:
    """SHA-256 and size of what was copied. Raises LoraRefused where it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with origin.open("rb") as source, target.open("xb") as copy:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size += copy.write(chunk)
    except PermissionError as error:
        raise LoraRefused(f"{origin.name} may not be read.") from error
    return digest.hexdigest(), size
