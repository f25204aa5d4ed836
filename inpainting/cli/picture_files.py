"""Painting from file to file: no database, no server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from inpainting.core import masks
from inpainting.core.codecs import STORED_LIMITS, decode_picture, encode_png, generation_parameters
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.conditioning_images import prepare_control_image, prepare_ip_adapter_image
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.masks import MaskPolarity
from inpainting.core.picture import Mask, Picture
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.engines.base import OnStep, SettingsPlan
from inpainting.engines.painting import Painting, paint
from inpainting.engines.plan import plan_pictures
from inpainting.engines.safety import Examine

HIDDEN = "What was painted is hidden: the safety checker found something in it. Nothing else is kept."
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif"}


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was measured on a written file, and what its owner should know."""

    out: Path
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
    """One picture to paint: where its parts lie, where the results go, and how to paint it.

    mask: None repaints all of the picture. control_image, ip_adapter_image: as `InpaintRequest` has them.
    examine: what every result has to pass; None where nobody looks.
    Of several results the second lies beside `out` as NAME-2.png, and so on.
    """

    image: Path
    mask: Path | None
    out: Path
    plan: SettingsPlan
    polarity: MaskPolarity
    examine: Examine | None = None
    control_image: Path | None = None
    ip_adapter_image: Path | None = None

    def run(self, on_step: OnStep) -> list[FileReport]:
        """Paint, write each PNG, read it again and count. Raises PaintingError and OSError.

        The first result is written last: where it lies, all of them do.
        """
        image = decode_picture(self.image.read_bytes())
        request, warnings = self.request(image.picture)
        plan = plan_pictures(request, self.plan)
        warnings = (*image.warnings, *warnings, *plan.warnings)
        paintings = paint(plan, registry.find(plan.engine.name), on_step)
        if self.examine is not None:
            paintings = [self.examine(painting, lambda: None) for painting in paintings]
        reports = [
            self.keep(index, painting, warnings, image.picture) for index, painting in reversed([*enumerate(paintings)])
        ]
        return reports[::-1]

    def request(self, image: Picture) -> tuple[InpaintRequest, tuple[str, ...]]:
        """What is painted, and warnings about the mask and the further pictures."""
        pixels, warnings = self.mask_pixels(image.size)
        control, about_control = self.control(image.size)
        looked_at, about_look = self.look()
        request = InpaintRequest(image, pixels, self.plan.settings, control_image=control, ip_adapter_image=looked_at)
        return request, (*warnings, *about_control, *about_look)

    def mask_pixels(self, size: Size) -> tuple[Mask, tuple[str, ...]]:
        if self.mask is None:
            return np.full((size.height, size.width), 255, np.uint8), ()
        mask = decode_picture(self.mask.read_bytes(), field="mask")
        scaled = masks.scaling_note(mask.picture.size, size)
        pixels = masks.normalise(mask.picture, polarity=self.polarity, size=size)
        return pixels, (*mask.warnings, *([scaled] if scaled else []))

    def control(self, size: Size) -> tuple[Picture | None, tuple[str, ...]]:
        if self.control_image is None:
            return None, ()
        control = decode_picture(self.control_image.read_bytes(), field="control_image")
        scaled = masks.scaling_note(control.picture.size, size, noun="control image")
        return prepare_control_image(control.picture, size), (*control.warnings, *([scaled] if scaled else []))

    def look(self) -> tuple[Picture | None, tuple[str, ...]]:
        if self.ip_adapter_image is None:
            return None, ()
        looked_at = decode_picture(self.ip_adapter_image.read_bytes(), field="ip_adapter_image")
        return prepare_ip_adapter_image(looked_at.picture), looked_at.warnings

    def result(self, index: int) -> Path:
        return self.out if index == 0 else self.out.with_stem(f"{self.out.stem}-{index + 1}")

    @property
    def results(self) -> list[Path]:
        return [self.result(index) for index in range(self.plan.settings.num_images)]

    def keep(self, index: int, painting: Painting, warnings: tuple[str, ...], image: Picture) -> FileReport:
        out = self.result(index)
        texts = generation_parameters(self.plan.engine.name, asdict(self.plan.settings), index=index)
        png = encode_png(painting.picture, texts=texts)
        write_whole(out, png)
        kept = decode_picture(out.read_bytes(), limits=STORED_LIMITS).picture
        return FileReport(
            out=out,
            outside_mask_changed_pixels=outside_mask_changed_pixels(image, kept, painting.mask),
            sha256=hashlib.sha256(png).hexdigest(),
            seam_score=painting.seam_score,
            warnings=(*warnings, *painting.notes, *([HIDDEN] if painting.hidden_by else [])),
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


def control_of(image: Path, controls: Path) -> Path:
    """The one file given, or NAME.png in the folder given. Raises InvalidRequest where it is not."""
    control = controls / f"{image.stem}.png" if controls.is_dir() else controls
    if not control.is_file():
        raise InvalidRequest(
            f"{image.name} has no control image: there is no {control}.",
            code="control_image_missing",
            field="control_image",
        )
    return control


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
