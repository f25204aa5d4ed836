"""Build an `InpaintRequest` from decoded images and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from inpainting.core import masks
from inpainting.core.adapter_uses import CONTROLS, REGIONS
from inpainting.core.codecs import DecodedImage, IntakeLimits
from inpainting.core.codecs.intake import DEFAULT_LIMITS
from inpainting.core.conditioning_images import prepare_control_image, prepare_region_mask, prepare_unscaled_image
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.masks import MaskPolarity
from inpainting.core.outpainting import Outpaint, extend
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import pmark

NO_IMAGES: Mapping[str, DecodedImage] = MappingProxyType({})


def build_request(
    image: DecodedImage,
    mask: DecodedImage | None,
    settings: PaintSettings,
    polarity: MaskPolarity,
    conditioning_images: Mapping[str, DecodedImage] = NO_IMAGES,
    outpaint: Outpaint | None = None,
    *,
    may_be_unchanged: bool = False,
    limits: IntakeLimits = DEFAULT_LIMITS,
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Build the request, with warnings about its images. A mask of another size is scaled to the image.

    mask: None repaints the whole image; with `outpaint`, the border alone; with the polarity
        `transparent_image_repaints`, where the image is transparent.
    conditioning_images: by their names in `InpaintRequest`; those of SCALED_IMAGES are scaled to the canvas.
    may_be_unchanged, limits of the canvas: see `outpainting.extend`.
    """
    canonical, pixels, placement = image.image, None, None
    has_mask = mask is not None or outpaint is not None or not polarity.needs_mask
    warnings = list(image.warnings)
    if mask is None and not polarity.needs_mask:
        canonical, pixels = masks.split_transparency(canonical)
    elif mask is not None:
        pixels = masks.normalise(mask.image, polarity=polarity, size=canonical.size)
        scaled = masks.scaling_note(mask.image.size, canonical.size)
        warnings += [*mask.warnings, *([scaled] if scaled else [])]
    if outpaint is not None:
        canonical, pixels, placement = extend(
            canonical, outpaint, pixels, may_be_unchanged=may_be_unchanged, limits=limits
        )
    elif pixels is None:
        pixels = np.full((canonical.size.height, canonical.size.width), 255, np.uint8)
    prepared, more_warnings = prepare_conditioning_images(conditioning_images, canonical.size)
    request = InpaintRequest(canonical, pixels, settings, prepared, placement, has_mask)
    return request, (*warnings, *more_warnings)


def upscale_request(image: CanonicalImage, size: Size, settings: PaintSettings) -> InpaintRequest:
    """Return the request to enlarge an image to a size."""
    mask = np.full((image.size.height, image.size.width), 255, np.uint8)
    return InpaintRequest(image, mask, settings, has_mask=False, enlarged_to=size)


def detail_request(
    image: DecodedImage,
    mask: DecodedImage | None,
    settings: PaintSettings,
    polarity: MaskPolarity,
    *,
    size: Size,
    upscaler: str,
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Return the request to enlarge an image to a size and to paint detail, with warnings about its images.

    mask: of where detail is painted, see `build_request`. upscaler: see `InpaintRequest`.
    """
    request, warnings = build_request(image, mask, settings, polarity)
    return replace(request, enlarged_to=size, upscaler=upscaler), warnings


def prepare_conditioning_images(
    images: Mapping[str, DecodedImage], size: Size
) -> tuple[dict[str, CanonicalImage], list[str]]:
    """Return the conditioning images in canonical form for a source image of this size, and warnings about them."""
    prepared: dict[str, CanonicalImage] = {}
    warnings: list[str] = []
    for name, decoded in images.items():
        warnings += decoded.warnings
        if name in CONTROLS.images:
            prepared[name] = prepare_control_image(decoded.image, size)
            noun = pmark("a file that was sent", "control image")
        elif name in REGIONS.images:
            prepared[name] = prepare_region_mask(decoded.image, size)
            noun = pmark("a file that was sent", "region mask")
        else:
            prepared[name] = prepare_unscaled_image(name, decoded.image)
            continue
        scaled = masks.scaling_note(decoded.image.size, size, noun=noun)
        warnings += [scaled] if scaled else []
    return prepared, warnings
