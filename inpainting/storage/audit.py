"""Compare the rows with the storage: missing files, files without a row, files with other bytes.

A crash between a commit and the removal of files, or between writing files and accepting, leaves files without rows.
Missing files have causes outside the program: a lost disk, a restore in the wrong order, a manual change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.files.storage import Storage, default_storage

from inpainting.models import (
    Analysis,
    AnalysisMask,
    DraftImage,
    GeneratedImage,
    Mask,
    ReferenceImage,
    SourceImage,
    StackShare,
    StepMask,
    UploadedImage,
)
from inpainting.models.images import StoredImage

CHUNK_BYTES = 2**20
MODELS: tuple[type[StoredImage], ...] = (
    *(SourceImage, Mask, ReferenceImage, GeneratedImage, UploadedImage, DraftImage, StepMask, StackShare, Analysis),
    AnalysisMask,
)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a row refers to. sha256: of its bytes; empty for thumbnails, previews and signed copies, which have
    none."""

    file: str
    model: type[StoredImage]
    pk: Any
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.file} (of {self.model._meta.verbose_name} {self.pk})"

    def has_row(self) -> bool:
        return self.model._default_manager.filter(pk=self.pk).exists()


def named_files() -> Iterator[NamedFile]:
    """Every file that a row refers to."""
    for model in MODELS:
        fields = model.file_fields()
        for row in model._default_manager.order_by().values("pk", *fields, *model.HASHES.values()).iterator():
            for field in fields:
                if row[field]:  # most results have no hidden file and no copy
                    yield NamedFile(
                        row[field], model, row["pk"], row[model.HASHES[field]] if field in model.HASHES else ""
                    )


def missing(name: NamedFile, storage: Storage = default_storage) -> bool:
    """Whether the row exists and the file does not. In this order, so that a concurrent deletion is not reported."""
    return not storage.exists(name.file) and name.has_row()


def is_altered(name: NamedFile, storage: Storage = default_storage) -> bool:
    """Whether the bytes differ from those written. Reads the whole file; False for thumbnails and missing files."""
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


def is_older(file: str, *, than: datetime, storage: Storage = default_storage) -> bool:
    """Whether the file was written before that time; False for a missing file."""
    try:
        return storage.get_modified_time(file) < than
    except FileNotFoundError:
        return False
