"""A document as the editor writes it, and images for it."""

from __future__ import annotations

import hashlib
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.models import User
from inpainting.generations import drafts


def document(*entries: Any, **changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "entries": list(entries),
        "cursor": len(entries),
        "settings": {},
        "generation": None,
        "step": "editing",
        **changes,
    }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def with_photo(data: bytes, *, name: str = "photo.png") -> dict[str, Any]:
    return document({"kind": "photo", "photo": {"id": sha256(data), "name": name}, "parent": None})


def stored(owner: User, data: bytes) -> str:
    """Upload an image for a draft; returns its SHA-256."""
    drafts.store_image(owner, sha256(data), SimpleUploadedFile("picture", data))
    return sha256(data)
