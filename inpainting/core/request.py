"""The request type that every interface builds and every engine reads."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from inpainting.core.control_use import ControlUse
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Placement
from inpainting.core.picture import Mask, Picture
from inpainting.core.settings_table import LoraUse, PaintSettings

__all__ = ["ControlUse", "InpaintRequest", "LoraUse", "PaintSettings"]


@dataclass(frozen=True, slots=True, eq=False)
class InpaintRequest:
    """A source image, its mask ([height, width], uint8, 255 = repaint) and the settings.

    control_image: the conditioning image of `settings.control`, of the size of the source image; None where it is
    computed from the source image. ip_adapter_image: the image prompt of `settings.ip_adapter`, of any size.
    placement: where the image was outpainted (see `core.outpainting`); `image` is the whole canvas then.

    Raises InvalidRequest for a mask of another shape or type, and for a mask or control image of another size.
    """

    image: Picture
    mask: Mask
    settings: PaintSettings = field(default_factory=PaintSettings)
    control_image: Picture | None = None
    ip_adapter_image: Picture | None = None
    placement: Placement | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.uint8:
            raise InvalidRequest(f"a mask is [height, width] of 8 bits, got {self.mask.shape} {self.mask.dtype}")
        if self.mask.shape != self.image.pixels.shape[:2]:
            height, width = self.mask.shape
            raise InvalidRequest(
                f"mask is {width}x{height}, image is {self.image.size}", code="mask_size_mismatch", field="mask"
            )
        if self.control_image is not None and self.control_image.size != self.image.size:
            raise InvalidRequest(
                f"control_image is {self.control_image.size}, image is {self.image.size}", field="control_image"
            )
        view = self.mask.view()
        view.flags.writeable = False
        object.__setattr__(self, "mask", view)
