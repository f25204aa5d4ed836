"""Build an `InpaintRequest` from decoded images and settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from inpainting.core import masks
from inpainting.core.codecs import DecodedPicture
from inpainting.core.conditioning_images import prepare_control_image, prepare_ip_adapter_image
from inpainting.core.geometry import Size
from inpainting.core.masks import MaskPolarity
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings

NO_IMAGES: Mapping[str, DecodedPicture] = MappingProxyType({})


def build_request(
    image: DecodedPicture,
    mask: DecodedPicture | None,
    settings: PaintSettings,
    polarity: MaskPolarity,
    conditioning_images: Mapping[str, DecodedPicture] = NO_IMAGES,
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Build the request, with warnings about its images. A mask of another size is scaled to the image.

    mask: None repaints the whole image. conditioning_images: by their names in `InpaintRequest`.
    """
    size = image.picture.size
    warnings = list(image.warnings)
    if mask is None:
        pixels = np.full((size.height, size.width), 255, np.uint8)
    else:
        pixels = masks.normalise(mask.picture, polarity=polarity, size=size)
        scaled = masks.scaling_note(mask.picture.size, size)
        warnings += [*mask.warnings, *([scaled] if scaled else [])]
    pictures, more_warnings = prepare_conditioning_images(conditioning_images, size)
    return InpaintRequest(image.picture, pixels, settings, **pictures), (*warnings, *more_warnings)


def prepare_conditioning_images(
    images: Mapping[str, DecodedPicture], size: Size
) -> tuple[dict[str, Picture], list[str]]:
    """The conditioning images in canonical form for a source image of this size, and warnings about them."""
    pictures: dict[str, Picture] = {}
    warnings: list[str] = []
    for name, decoded in images.items():
        warnings += decoded.warnings
        if name == "control_image":
            pictures[name] = prepare_control_image(decoded.picture, size)
            scaled = masks.scaling_note(decoded.picture.size, size, noun="control image")
            warnings += [scaled] if scaled else []
        else:
            pictures[name] = prepare_ip_adapter_image(decoded.picture)
    return pictures, warnings
