"""The request type that every interface builds and every engine reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from inpainting.core.adapter_uses import SCALED_IMAGES, ControlUse, IPAdapterUse, LoraUse
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Placement, Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.metadata import ImageMetadata
from inpainting.core.sentences import sentence
from inpainting.core.settings_table import PaintSettings

__all__ = ["ControlUse", "IPAdapterUse", "InpaintRequest", "LoraUse", "PaintSettings"]


@dataclass(frozen=True, slots=True, eq=False)
class InpaintRequest:
    """A source image, its mask ([height, width], uint8, 255 = repaint) and the settings.

    Raises InvalidRequest for a mask of another shape or type, and for a mask, or one of
    SCALED_IMAGES, of another size.
    """

    image: CanonicalImage
    mask: Mask
    settings: PaintSettings = field(default_factory=PaintSettings)
    # By their names, see `ImageList.images`. Control images and masks of regions have the size of the source image; a
    # control image that is missing is computed from it, or is that of the first ControlNet. The others have any size.
    conditioning_images: Mapping[str, CanonicalImage] = field(default_factory=dict)
    # Where the image was outpainted (see `core.outpainting`); `image` is the whole canvas then.
    placement: Placement | None = None
    has_mask: bool = True  # False where none was sent, so that `mask` covers the whole image
    enlarged_to: Size | None = None  # of an upscaling the size of its result
    # The name of what enlarges the image before it is painted; "" where enlarging is all. The mask is scaled as well.
    upscaler: str = ""

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.uint8:
            raise InvalidRequest(
                sentence(
                    "a mask is [height, width] of 8 bits, got {shape} {dtype}",
                    shape=self.mask.shape,
                    dtype=self.mask.dtype,
                )
            )
        if self.mask.shape != self.image.pixels.shape[:2]:
            height, width = self.mask.shape
            raise InvalidRequest(
                sentence("mask is {width}x{height}, image is {size}", width=width, height=height, size=self.image.size),
                code="mask_size_mismatch",
                field="mask",
            )
        for name, image in self.conditioning_images.items():
            if name in SCALED_IMAGES and image.size != self.image.size:
                raise InvalidRequest(
                    sentence("{name} is {size}, image is {size_2}", name=name, size=image.size, size_2=self.image.size),
                    field=name,
                )
        view = self.mask.view()
        view.flags.writeable = False
        object.__setattr__(self, "mask", view)

    @property
    def kept_metadata(self) -> ImageMetadata:
        """The metadata of the source image that its results keep."""
        return self.image.metadata.select(self.settings.keep_metadata)
