"""`controlnet_image` of a `GenerateBody` -> the image prompt of an installed IP-Adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from inpainting.api.compat.fooocus.body import ControlType, GenerateBody
from inpainting.api.compat.fooocus.settings import Notes
from inpainting.api.pictures import PictureRole, SentPicture
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import Kind
from inpainting.core.codecs import DecodedPicture
from inpainting.core.conditioning_images import prepare_ip_adapter_image
from inpainting.core.request import InpaintRequest
from inpainting.core.settings_table import RANGES

FIELD = "controlnet_image"
PICTURE = PictureRole(code_prefix="image", error_prefix="Invalid controlnet_image")
IMAGE_PROMPTS = (ControlType.IMAGE_PROMPT, ControlType.FACE_SWAP)
"""The types that have an IP-Adapter here; those of FACE_SWAP have `face` in their names."""


def with_image_prompt(
    request: InpaintRequest,
    body: GenerateBody,
    catalog: Catalog,
    notes: Notes,
    read: Callable[[SentPicture, PictureRole], DecodedPicture],
) -> InpaintRequest:
    """The request with the first picture of controlnet_image as its image prompt; as it was where none can be used."""
    prompts = [prompt for prompt in body.controlnet_image if prompt.cn_img]
    if not prompts:
        return request
    prompt, model = prompts[0], request.settings.model
    row = catalog.find_row(model) if model else catalog.default()
    is_face = prompt.cn_type is ControlType.FACE_SWAP
    adapters = [
        adapter.slug
        for adapter in catalog.adapters
        if adapter.kind == Kind.IP_ADAPTER
        and row
        and adapter.family == row.family
        and ("face" in adapter.slug) == is_face
    ]
    why = ""
    if body.inpaints and not body.mixing_image_prompt_and_inpaint:
        why = "inpainting reads it with mixing_image_prompt_and_inpaint."
    elif prompt.cn_type not in IMAGE_PROMPTS or not adapters:
        why = f"no adapter for {prompt.cn_type} is installed for the model."
    if why:
        notes.ignore(FIELD, why)
        return request
    if len(prompts) > 1:
        notes.ignore(FIELD, "only its first picture was used.")
    if "cn_stop" in prompt.model_fields_set:
        notes.ignore(f"{FIELD}.cn_stop", "the picture was used in all steps.")
    image = read(SentPicture(FIELD, prompt.cn_img or ""), PICTURE)
    notes.warnings.extend(image.warnings)
    weight = 1.0 if prompt.cn_weight is None else prompt.cn_weight
    scale = notes.clamp(f"{FIELD}.cn_weight", weight, RANGES["ip_adapter_scale"][1])
    settings = replace(request.settings, ip_adapter=adapters[0], ip_adapter_scale=scale)
    return replace(request, settings=settings, ip_adapter_image=prepare_ip_adapter_image(image.picture))
