"""Folders of images and masks for the command line."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, photo_png: bytes, mask_png: bytes) -> Path:
    """Three photos in `images` and their masks in `masks`."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "images" / f"{name}.png").write_bytes(photo_png)
        (tmp_path / "masks" / f"{name}_mask.png").write_bytes(mask_png)
    return tmp_path
