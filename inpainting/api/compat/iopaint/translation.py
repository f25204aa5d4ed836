"""A request of IOPaint's API -> `InpaintRequest`: to paint, or to enlarge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from rest_framework.request import Request

from inpainting import families
from inpainting.api.compat.iopaint.body import InpaintFields, PluginFields, marked_pixels
from inpainting.api.compat.iopaint.models import ENLARGE, chosen_for, chosen_model, is_diffusion
from inpainting.api.compat.samplers import WEB_UI_SAMPLERS
from inpainting.api.dialect import build_service_request, enlarging_request, shown_names
from inpainting.api.images import NAMED_MASK, read_field
from inpainting.api.parsers import body_of
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.core.codecs import DecodedImage
from inpainting.core.codecs.formats import PNG
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.outpainting import Outpaint
from inpainting.core.request import InpaintRequest, LoraUse, PaintSettings
from inpainting.core.setting import QUICK_FILL
from inpainting.core.settings_table import OUTPUT_FORMATS
from inpainting.core.upscaling import Upscale
from inpainting.engines import registry
from inpainting.engines.upscaling import UPSCALE
from inpainting.generations.submit import Submission

QUALITY = 95
"""Of JPEG and WebP results, as the service saves them."""
KARRAS = " Karras"
NAMES = ("DPM++ 2M", "DPM++ 2M SDE", "DPM++ SDE", "DPM2", "DPM2 a", "LMS")
"""Samplers that the service also lists with Karras sigmas."""
OTHER_NAMES = ("Euler", "Euler a", "Heun", "DDIM", "PNDM", "UniPC", "LCM")
SAMPLERS = [*(name + suffix for name in NAMES for suffix in ("", KARRAS)), *OTHER_NAMES]
FRAME = ("x", "y", "width", "height")
CROPER, EXTENDER = ([f"{name}_{part}" for part in FRAME] for name in ("croper", "extender"))
CONTROL = ["controlnet_method", "controlnet_conditioning_scale"]


def read_request(request: Request) -> tuple[InpaintRequest, Submission]:
    """Read and check the fields, then the images. Raises InvalidRequest."""
    sent = {name: value for name, value in body_of(request).items() if value is not None}
    fields, catalog = InpaintFields.read(sent), Catalog()
    name, chosen = chosen_model(request, catalog)
    row = chosen if is_diffusion(chosen) else None
    if name == registry.AUTO and fields.prompt.strip():
        row = catalog.default()
    extends = fields.use_extender and not fields.use_croper
    settings = PaintSettings(
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt,
        steps=fields.sd_steps,
        guidance_scale=fields.sd_guidance_scale,
        strength=1.0 if extends else fields.sd_strength,
        seed=fields.sd_seed,
        model=chosen.slug if chosen else None,
        **(settings_of_model(fields, row, catalog, extends=extends) if row else {}),
    )
    image = read_field("image", fields.image, request)
    if (kind := image.format.lower()) in OUTPUT_FORMATS and kind != PNG:
        settings = replace(settings, output_format=kind, quality=QUALITY)
    mask = None if extends else read_mask(fields, image, request)
    outpaint = frame_around(fields, image.image.size) if extends else None
    inpaint_request, warnings = build_service_request(image, mask, settings, outpaint=outpaint)
    return inpaint_request, Submission(
        engine=QUICK_FILL if name == QUICK_FILL else registry.AUTO,
        warnings=warnings,
        sent_fields=tuple(sent),
        ignored_fields=ignored_fields(sent, fields, settings, extends=extends, has_model=row is not None),
        catalog=catalog,
    )


def settings_of_model(fields: InpaintFields, row: InferenceModel, catalog: Catalog, *, extends: bool) -> dict[str, Any]:
    """Return the settings that the service reads for diffusion models alone."""
    found: dict[str, Any] = {"mask_blur": fields.sd_mask_blur}
    lora = catalog.preset_adapters(row.family).lora if fields.sd_lcm_lora else None
    if lora:
        found |= {"loras": (LoraUse(lora, 1.0),), **WEB_UI_SAMPLERS["LCM"].settings}
    elif fields.sd_sampler is not None:
        found |= settings_of_sampler(fields.sd_sampler, row)
    if fields.enable_controlnet and fields.controlnet_method and not extends:
        found |= {"control": fields.controlnet_method, "control_strength": fields.controlnet_conditioning_scale}
    return found


def settings_of_sampler(sampler: str, row: InferenceModel) -> dict[str, Any]:
    """Return the settings of a sampler; none where the model cannot use it. Raises InvalidRequest for another name."""
    if sampler not in SAMPLERS:
        message = f"sd_sampler: “{sampler}” is not known; the samplers are: {', '.join(SAMPLERS)}."
        raise InvalidRequest(message, field="sd_sampler")
    found = WEB_UI_SAMPLERS[sampler.removesuffix(KARRAS)].settings
    if found["scheduler"] not in families.get(row.family).schedulers:
        return {}
    return {**found, "use_karras_sigmas": sampler.endswith(KARRAS)}


def frame_around(fields: InpaintFields, image: Size) -> Outpaint:
    """Return what lies of the extender's frame beyond the sides of the image."""
    right, bottom = fields.extender_x + fields.extender_width, fields.extender_y + fields.extender_height
    return Outpaint(
        left=max(0, -fields.extender_x),
        top=max(0, -fields.extender_y),
        right=max(0, right - image.width),
        bottom=max(0, bottom - image.height),
    )


def read_mask(fields: InpaintFields, image: DecodedImage, request: Request) -> DecodedImage:
    """Return the mask, white where it repaints; within the croper's frame if there is one."""
    if fields.mask is None:
        raise InvalidRequest("Missing required field: mask", code="field_missing", field="mask")
    mask = read_field("mask", fields.mask, request, role=NAMED_MASK)
    if mask.image.size != image.image.size:
        sizes = [decoded.image.pixels.shape[:2] for decoded in (image, mask)]
        message = f"Image size({sizes[0]}) and mask size({sizes[1]}) not match."
        raise InvalidRequest(message, code="mask_size_mismatch", field="mask")
    pixels = marked_pixels(mask)
    if fields.use_croper:
        left, top = max(0, fields.croper_x), max(0, fields.croper_y)
        right, bottom = fields.croper_x + fields.croper_width, fields.croper_y + fields.croper_height
        inside = np.zeros_like(pixels)
        part = np.s_[top : max(top, bottom), left : max(left, right)]
        inside[part] = pixels[part]
        pixels = inside
    return replace(mask, image=CanonicalImage.of_mask(pixels))


def ignored_fields(
    sent: Mapping[str, Any], fields: InpaintFields, settings: PaintSettings, *, extends: bool, has_model: bool
) -> tuple[str, ...]:
    """Return the fields without an effect, beside those of settings that the engine ignores.

    has_model: whether a diffusion model paints.
    """
    without_effect = {
        **dict.fromkeys(sent.keys() - InpaintFields.model_fields.keys(), True),
        **dict.fromkeys(CROPER, not fields.use_croper),
        **dict.fromkeys(["use_extender"], fields.use_extender and not extends),
        **dict.fromkeys(EXTENDER, not extends),
        **dict.fromkeys(["mask", "sd_strength"], extends),
        **dict.fromkeys(CONTROL, settings.control is None),
        "enable_controlnet": fields.enable_controlnet and settings.control is None,
        "sd_mask_blur": not has_model,
        "sd_sampler": has_model and (settings.scheduler is None or bool(settings.loras)),
        "sd_lcm_lora": fields.sd_lcm_lora and not settings.loras,
        "sd_keep_unmasked_area": not fields.sd_keep_unmasked_area,
    }
    return shown_names(name for name in sent if without_effect.get(name))


def read_enlargement(request: Request) -> tuple[InpaintRequest, Submission]:
    """Read the request to enlarge an image. Raises InvalidRequest."""
    sent, catalog = body_of(request), Catalog()
    fields = PluginFields.read(sent)
    image = read_field("image", fields.image, request)
    upscaler = chosen_for(request, ENLARGE, catalog)
    return enlarging_request(image.image, Upscale(scale=fields.scale), PaintSettings(model=upscaler)), Submission(
        engine=UPSCALE.name,
        warnings=image.warnings,
        ignored_fields=shown_names(name for name in sent if name not in ("name", "image", "scale")),
        catalog=catalog,
    )
