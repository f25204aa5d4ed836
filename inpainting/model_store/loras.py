"""LoRAs from one's own files: copied, looked through to the last number, moved into place with their row."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from django.db import transaction

from inpainting.engines.catalog import Family
from inpainting.engines.lora_files import LoraRefused, check_finite, check_lora
from inpainting.engines.model_files import WEIGHTS
from inpainting.model_store.supplies import CHUNK_BYTES
from inpainting.models import Lora


def add(lora: Lora, origin: Path) -> None:
    """Save a new LoRA with a copy of its file. Raises LoraRefused, ValidationError and OSError, and then adds nothing.

    What is looked at is the copy, which nobody changes any more.
    """
    check_lora(origin, Family(lora.family))
    home = lora.path.parent
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=home, prefix=".coming-") as folder:
        copy = Path(folder, lora.slug + WEIGHTS)
        lora.sha256, lora.size_bytes = copied(origin, copy)
        check_lora(copy, Family(lora.family))
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
