"""Enlarging from file to file: a job of `manage.py upscale`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from inpainting.cli.file_job import FileJob, FileReport
from inpainting.core.codecs import DecodedImage
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.geometry import Size
from inpainting.core.image import Strips
from inpainting.core.inputs import detail_request, upscale_request
from inpainting.core.request import InpaintRequest
from inpainting.core.upscaling import Upscale
from inpainting.engines.base import OnStep, Plan
from inpainting.engines.painting import Painting
from inpainting.engines.upscaling import enlarge_each, enlarge_source


@dataclass(frozen=True, slots=True)
class UpscaleReport(FileReport):
    """The measurements on a written file. size: of the image."""

    size: Size = field(default=Size(1, 1))

    def __str__(self) -> str:
        return f"{self.lossy}{self.size}, sha256 {self.sha256}"


@dataclass(frozen=True, slots=True)
class UpscaleJob(FileJob):
    """One image to enlarge. mask: of where detail is painted; it is not read without an `upscaler`."""

    upscale: Upscale = field(default=Upscale())
    upscaler: str = ""  # see `InpaintRequest`

    def request(self, image: DecodedImage) -> tuple[InpaintRequest, tuple[str, ...]]:
        size = self.upscale.checked_size(image.image, self.limits)
        settings = self.plan.settings
        if not self.upscaler:
            return upscale_request(image.image, size, settings), image.warnings
        mask = self.decoded_mask()
        return detail_request(image, mask, settings, self.polarity, size=size, upscaler=self.upscaler)

    def paintings(self, plan: Plan, on_step: OnStep) -> list[Painting]:
        if not self.upscaler:
            return list(enlarge_each(plan, on_step))
        return FileJob.paintings(self, *enlarge_source(plan, on_step))

    def write_result(
        self, index: int, painting: Painting, warnings: tuple[str, ...], request: InpaintRequest
    ) -> UpscaleReport:
        report = FileJob.write_result(self, index, painting, warnings, request)
        lossy = report.lossy.partition("; ")[0] + ", " if report.lossy else ""
        size = painting.image.size
        return UpscaleReport(
            report.out, report.outside_mask_changed_pixels, report.sha256, 0.0, report.warnings, lossy, size
        )

    def changed_pixels(self, request: InpaintRequest, written: Strips, painting: Painting) -> int:
        """Return how many pixels of the file are not those of the result."""
        return outside_mask_changed_pixels(
            painting.image, written, np.zeros((painting.image.size.height, painting.image.size.width), np.uint8)
        )
