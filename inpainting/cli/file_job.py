"""Painting from file to file, without database or server. Jobs can be sent to another process."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from inpainting.core.codecs import (
    STORED_LIMITS,
    DecodedImage,
    IntakeLimits,
    decode_image,
    encode_png,
    generation_parameters,
)
from inpainting.core.codecs.formats import LABELS, PNG, TOO_LARGE, copy_for
from inpainting.core.codecs.intake import DEFAULT_LIMITS
from inpainting.core.codecs.png.strips import PngStrips
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.image import CanonicalImage, Strips
from inpainting.core.inputs import build_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.metadata import ImageMetadata
from inpainting.core.outpainting import Outpaint
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.engines.base import OnStep, Plan, SettingsPlan
from inpainting.engines.moderation import Moderate
from inpainting.engines.painting import Painting, paint
from inpainting.engines.plan import plan_images

HIDDEN = "What was painted is hidden: the safety checker found something in it. Nothing else is kept."


@dataclass(frozen=True, slots=True)
class FileReport:
    """The measurements on a written file, and the warnings about it."""

    out: Path
    outside_mask_changed_pixels: int  # of a lossy file, before it was compressed
    sha256: str
    seam_score: float
    warnings: tuple[str, ...]
    lossy: str = ""  # the beginning of the report on such a file; "" for PNG

    def __str__(self) -> str:
        return (
            f"{self.lossy}{self.outside_mask_changed_pixels} pixels changed outside the mask, "
            f"seam score {self.seam_score:.2f}, sha256 {self.sha256}"
        )


@dataclass(frozen=True, slots=True)
class FileJob:
    """One image to paint: its files, where the results go, and the plan of its settings.

    The first result is written to `out`, the second beside it as NAME-2.png, and so on.
    """

    image: Path
    mask: Path | None  # None repaints the whole image, or with `outpaint` the new border
    out: Path
    plan: SettingsPlan
    polarity: MaskPolarity
    moderate: Moderate | None = None  # the check that every result has to pass; None where the safety checker is off
    conditioning_images: Mapping[str, Path] = field(default_factory=dict)  # by their names in `InpaintRequest`
    outpaint: Outpaint | None = None
    embeds_settings: bool = True  # whether the results contain the settings as text
    limits: IntakeLimits = DEFAULT_LIMITS  # on the images and on the canvas

    def run(self, on_step: OnStep) -> list[FileReport]:
        """Paint, write each result, read it again and measure it. Raises PaintingError and OSError.

        The first result is written last: where it exists, all of them do.
        """
        request, warnings = self.request(decode_image(self.image.read_bytes(), limits=self.limits))
        plan = plan_images(request, self.plan)
        warnings = (*warnings, *plan.warnings)
        paintings = self.paintings(plan, on_step)
        if self.moderate is not None:
            paintings = [self.moderate(painting, lambda: None) for painting in paintings]
        paintings = [replace(painting, make_unfaded=None) for painting in paintings]  # It holds the engine's image.
        return_freed_memory()
        reports = [
            self.write_result(index, painting, warnings, plan.request)
            for index, painting in reversed([*enumerate(paintings)])
        ]
        return reports[::-1]

    def paintings(self, plan: Plan, on_step: OnStep) -> list[Painting]:
        return paint(plan, registry.find(plan.engine.name), on_step)

    def request(self, image: DecodedImage) -> tuple[InpaintRequest, tuple[str, ...]]:
        """Return the request, and warnings about its images."""
        paths = self.conditioning_images
        images = {name: decode_image(path.read_bytes(), field=name, limits=self.limits) for name, path in paths.items()}
        settings, mask = self.plan.settings, self.decoded_mask()
        return build_request(image, mask, settings, self.polarity, images, self.outpaint, limits=self.limits)

    def decoded_mask(self) -> DecodedImage | None:
        return None if self.mask is None else decode_image(self.mask.read_bytes(), field="mask", limits=self.limits)

    def result(self, index: int) -> Path:
        return self.out if index == 0 else self.out.with_stem(f"{self.out.stem}-{index + 1}")

    @property
    def results(self) -> list[Path]:
        return [self.result(index) for index in range(self.plan.settings.num_images)]

    def write_result(
        self, index: int, painting: Painting, warnings: tuple[str, ...], request: InpaintRequest
    ) -> FileReport:
        out, kept = self.result(index), request.kept_metadata
        is_lossy = request.settings.output_format != PNG
        copy = copy_for(painting.image, request.settings, kept) if is_lossy else None
        data = self.encoded_png(index, painting.image, kept) if copy is None else copy.data
        sha256 = hashlib.sha256(data).hexdigest()
        write_whole(out, data)
        del data
        if copy is None:
            written: Strips = PngStrips(out.read_bytes())
        else:
            decode_image(out.read_bytes(), limits=STORED_LIMITS)
            written = painting.image
        notes = [
            *painting.notes,
            *([HIDDEN] if painting.hidden_by else []),
            *([TOO_LARGE] if copy and not copy.fits else []),
        ]
        return FileReport(
            out=out,
            outside_mask_changed_pixels=self.changed_pixels(request, written, painting),
            sha256=sha256,
            seam_score=painting.seam_score,
            warnings=(*warnings, *notes),
            lossy=""
            if copy is None
            else f"{LABELS[copy.format]} of quality {copy.quality}; before it was compressed: ",
        )

    def changed_pixels(self, request: InpaintRequest, written: Strips, painting: Painting) -> int:
        return outside_mask_changed_pixels(request.image, written, painting.mask)

    def encoded_png(self, index: int, image: CanonicalImage, metadata: ImageMetadata) -> bytes:
        texts = {}
        if self.embeds_settings:
            texts = generation_parameters(self.plan.engine.name, self.plan.settings.to_dict(), index=index)
        return encode_png(image, texts=texts, metadata=metadata)


def return_freed_memory() -> None:
    """Return freed memory to the system: glibc keeps that of arrays of up to 32 MB (M_MMAP_THRESHOLD of mallopt(3))."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None  # Not in musl or on macOS.
    if trim is not None:
        trim(0)


def write_whole(path: Path, data: bytes) -> None:
    """Write under another name first, so that `path` never holds part of the data."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
