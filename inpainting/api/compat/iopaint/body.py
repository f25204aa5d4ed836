"""The fields of IOPaint's requests, and their images."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from inpainting.api.fields import Fields, ImageText, Integer, Length, Number, Range
from inpainting.api.setting_types import Guidance, Prompt, Seed
from inpainting.core import masks
from inpainting.core.codecs import DecodedImage
from inpainting.core.codecs.intake import HIGHEST_SIDE
from inpainting.core.image import Mask
from inpainting.core.masks import MaskPolarity
from inpainting.core.settings_table import RANGES
from inpainting.core.upscaling import DEFAULT_SCALE

MARKED_ABOVE = 127
"""Of 255: the lightness above which a pixel of a mask is marked."""
Name = Annotated[str, Length(200)]
Place = Annotated[Integer, Range(-HIGHEST_SIDE, HIGHEST_SIDE)]
Side = Annotated[Integer, Range(1, HIGHEST_SIDE)]


class InpaintFields(Fields):
    """Those that have an effect. Where one is not sent that a model reads, the model's own default counts."""

    image: ImageText
    mask: ImageText | None = None
    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    sd_steps: Annotated[Integer, Range(*RANGES["steps"])] | None = None
    sd_guidance_scale: Guidance | None = None
    sd_strength: Annotated[Number, Range(*RANGES["strength"])] | None = None
    sd_sampler: Annotated[str, Length(60)] | None = None
    sd_seed: Seed = 42
    sd_mask_blur: Annotated[Integer, Range(*RANGES["mask_blur"])] = 0
    sd_lcm_lora: bool = False
    sd_keep_unmasked_area: bool = True
    use_croper: bool = False
    croper_x: Place = 0
    croper_y: Place = 0
    croper_width: Side = 512
    croper_height: Side = 512
    use_extender: bool = False
    extender_x: Place = 0
    extender_y: Place = 0
    extender_width: Side = 640
    extender_height: Side = 640
    enable_controlnet: bool = False
    controlnet_method: Annotated[str, Length(200, may_be_blank=True)] = ""
    controlnet_conditioning_scale: Annotated[Number, Range(0, 1)] = 0.4


class PluginFields(Fields):
    name: Name
    image: ImageText
    clicks: tuple[Annotated[list[Integer], Field(min_length=3, max_length=10)], ...] = ()
    """Of each x, y, and 1 on the object or 0 beside it. The app sends a fourth number, which nothing reads."""
    scale: Number = DEFAULT_SCALE
    """Read where an image is enlarged."""


class MaskFields(Fields):
    mask: ImageText
    operate: Literal["expand", "shrink", "reverse"]
    kernel_size: Annotated[Integer, Range(0, RANGES["mask_grow"][1])] = 5


class ModelFields(Fields):
    name: Name


class PluginModelFields(Fields):
    plugin_name: Name
    model_name: Name


def marked_pixels(mask: DecodedImage) -> Mask:
    """Return where a mask is light, as 255. Its alpha is not read: the app's brush is a translucent yellow on
    transparent black."""
    size = mask.image.size
    lightness = masks.normalise(mask.image, polarity=MaskPolarity.WHITE_REPAINTS_IGNORING_ALPHA, size=size)
    return np.where(lightness > MARKED_ABOVE, np.uint8(255), np.uint8(0))
