"""Painting from file to file: no database, no server."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from inpainting.core import masks
from inpainting.core.codecs import STORED_LIMITS, decode_picture, encode_png
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import OnStep
from inpainting.engines.painting import paint

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif"}


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was measured on a written file, and what its owner should know."""

    outside_mask_changed_pixels: int
    sha256: str
    seam_score: float
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.outside_mask_changed_pixels} pixels changed outside the mask, seam score {self.seam_score:.2f}, "
            f"sha256 {self.sha256}"
        )


@dataclass(frozen=True, slots=True)
class FileJob:
    """One picture to paint: where its parts lie, where the result goes, and how to paint it."""

    image: Path
    mask: Path
    out: Path
    settings: PaintSettings
    polarity: MaskPolarity
    engine: str

    def run(self, on_step: OnStep) -> FileReport:
        """Paint, write the PNG, read it again and count. Raises PaintingError and OSError; then nothing is kept."""
        image = decode_picture(self.image.read_bytes())
        mask = decode_picture(self.mask.read_bytes(), field="mask")
        pixels = masks.normalise(mask.picture, polarity=self.polarity, size=image.picture.size)
        request = InpaintRequest(image.picture, pixels, self.settings)
        painting = paint(request, registry.find(self.engine), on_step)[0]
        recipe = {"dreamlayer": json.dumps({"engine": self.engine, **asdict(self.settings)})}
        png = encode_png(painting.picture, recipe=recipe)
        write_whole(self.out, png)
        kept = decode_picture(self.out.read_bytes(), limits=STORED_LIMITS).picture
        scaled = masks.scaling_note(mask.picture.size, image.picture.size)
        return FileReport(
            outside_mask_changed_pixels=outside_mask_changed_pixels(image.picture, kept, painting.mask),
            sha256=hashlib.sha256(png).hexdigest(),
            seam_score=painting.seam_score,
            warnings=(*image.warnings, *mask.warnings, *([scaled] if scaled else []), *painting.warnings),
        )


def write_whole(path: Path, data: bytes) -> None:
    """Write under another name first: whoever finds `path` finds all of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def pairs(images: Path, masks_path: Path) -> Iterator[tuple[Path, Path]]:
    """Each picture in the folder `images` with its mask. Masks that lie among the pictures are no pictures.

    Raises InvalidRequest for a picture without a mask.
    """
    for image in sorted(images.iterdir()):
        if image.suffix.lower() in PICTURE_SUFFIXES and not image.stem.endswith("_mask"):
            yield image, mask_of(image, masks_path)


def mask_of(image: Path, masks_path: Path) -> Path:
    """The one file given, or NAME_mask.png or NAME.png in the folder given. Raises InvalidRequest where none is."""
    if masks_path.is_file():
        return masks_path
    candidates = [masks_path / f"{image.stem}_mask.png", masks_path / f"{image.stem}.png"]
    mask = next((path for path in candidates if path.is_file() and path != image), None)
    if mask is None:
        raise InvalidRequest(
            f"{image.name} has no mask: neither {candidates[0].name} nor {candidates[1].name} is in {masks_path}.",
            code="mask_required",
            field="mask",
        )
    return mask
