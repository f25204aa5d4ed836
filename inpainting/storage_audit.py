"""Rows and files, compared: what a row names and is not there, what is there and no row names, what has changed.

A crash between the end of a transaction and the removal of files, or between writing files and accepting, leaves files
without rows. Rows without files come from outside: a lost disk, a restore in the wrong order, a hand in the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.files.storage import Storage, default_storage
from django.db import models

from inpainting.models import GeneratedImage, Mask, ReferencePicture, SourceImage
from inpainting.models.pictures import StoredPicture

CHUNK_BYTES = 2**20
MODELS: tuple[type[StoredPicture], ...] = (SourceImage, Mask, ReferencePicture, GeneratedImage)


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a row names. sha256: what it should have; empty for thumbnails, of which none is kept."""

    file: str
    model: type[StoredPicture]
    pk: Any
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.file} (of {self.model._meta.verbose_name} {self.pk})"

    def is_still_named(self) -> bool:
        return self.model._default_manager.filter(pk=self.pk).exists()


def named() -> Iterator[Named]:
    """All that rows name."""
    for model in MODELS:
        fields = file_fields(model)
        for row in model._default_manager.order_by().values("pk", *fields, *model.HASHES.values()).iterator():
            for field in fields:
                if row[field]:  # of most results nothing was hidden
                    yield Named(row[field], model, row["pk"], row[model.HASHES[field]] if field in model.HASHES else "")


def file_fields(model: type[StoredPicture]) -> list[str]:
    return [field.name for field in model._meta.get_fields() if isinstance(field, models.FileField)]


def stored(storage: Storage = default_storage, folder: str = "") -> Iterator[str]:
    """The names of all files in the storage."""
    try:
        folders, files = storage.listdir(folder)
    except FileNotFoundError:
        return  # nothing was ever stored
    for name in files:
        yield f"{folder}{name}"
    for name in folders:
        yield from stored(storage, f"{folder}{name}/")


def missing(name: Named, storage: Storage = default_storage) -> bool:
    """Its row is there, and it is not. Asked in this order, what is deleted meanwhile is not missing."""
    return not storage.exists(name.file) and name.is_still_named()


def altered(name: Named, storage: Storage = default_storage) -> bool:
    """Its bytes are not those that were written. Reads the whole file; False for thumbnails and for what is gone."""
    if not name.sha256:
        return False
    digest = hashlib.sha256()
    try:
        with storage.open(name.file, "rb") as file:
            for chunk in file.chunks(CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() != name.sha256


def older(file: str, *, than: datetime, storage: Storage = default_storage) -> bool:
    """Whether it was written before that; False for what is gone."""
    try:
        return storage.get_modified_time(file) < than
    except FileNotFoundError:
        return False
