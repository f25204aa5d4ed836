"""Painting from file to file: no database, no server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from inpainting.core import masks
from inpainting.core.codecs import decode_picture, encode_png
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import OnStep
from inpainting.engines.painting import paint

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif"}


@dataclass(frozen=True, slots=True)
class FileJob:
    """One picture to paint: where its parts lie, where the result goes, and how to paint it."""

    image: Path
    mask: Path
    out: Path
    settings: PaintSettings
    polarity: MaskPolarity
    engine: str

    def run(self, on_step: OnStep) -> tuple[str, ...]:
        """Paint and write the PNG; returns warnings. Raises PaintingError and OSError; then nothing is written."""
        image = decode_picture(self.image.read_bytes())
        mask = decode_picture(self.mask.read_bytes(), field="mask")
        pixels = masks.normalise(mask.picture, polarity=self.polarity, size=image.picture.size)
        request = InpaintRequest(image.picture, pixels, self.settings)
        painting = paint(request, registry.find(self.engine), on_step)[0]
        recipe = {"dreamlayer": json.dumps({"engine": self.engine, **asdict(self.settings)})}
        write_whole(self.out, encode_png(painting.picture, recipe=recipe))
        scaled = masks.scaling_note(mask.picture.size, image.picture.size)
        return (*image.warnings, *mask.warnings, *([scaled] if scaled else []), *painting.warnings)


def write_whole(path: Path, data: bytes) -> None:
    """Write under another name first: whoever finds `path` finds all of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def pairs(images: Path, masks_path: Path) -> Iterator[tuple[Path, Path]]:
    """Each picture in `images` with its mask: the one file given, or NAME.png or NAME_mask.png in the folder given.

    Masks that lie among the pictures are no pictures. Raises InvalidRequest for a picture without a mask.
    """
    for image in sorted(images.iterdir()):
        if image.suffix.lower() not in PICTURE_SUFFIXES or image.stem.endswith("_mask"):
            continue
        if masks_path.is_file():
            yield image, masks_path
            continue
        candidates = [masks_path / f"{image.stem}_mask.png", masks_path / f"{image.stem}.png"]
        mask = next((path for path in candidates if path.is_file() and path != image), None)
        if mask is None:
            raise InvalidRequest(
                f"{image.name} has no mask: neither {candidates[0].name} nor {candidates[1].name} is in {masks_path}.",
                code="mask_required",
                field="mask",
            )
        yield image, mask
