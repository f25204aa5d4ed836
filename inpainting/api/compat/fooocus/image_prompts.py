"""Translates `controlnet_image` of a `GenerateBody` to the image prompts of installed IP-Adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from inpainting import families
from inpainting.api.compat.fooocus.body import ControlType, GenerateBody, ImagePrompt
from inpainting.api.compat.notes import Notes
from inpainting.api.images import ImageRole, SentImage
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import Kind
from inpainting.core.adapter_uses import IP_ADAPTER_SCALES, IP_ADAPTERS, IPAdapterUse
from inpainting.core.codecs import DecodedImage
from inpainting.core.conditioning_images import prepare_whole_image
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest

FIELD = "controlnet_image"
IMAGE = ImageRole(code_prefix="image", error_prefix="Invalid controlnet_image")
IMAGE_PROMPTS = (ControlType.IMAGE_PROMPT, ControlType.FACE_SWAP)
"""The types that have an IP-Adapter here; those of FACE_SWAP have `face` in their names."""


def add_image_prompts(
    request: InpaintRequest,
    body: GenerateBody,
    catalog: Catalog,
    notes: Notes,
    read: Callable[[SentImage, ImageRole], DecodedImage],
) -> InpaintRequest:
    """Return the request with the images of controlnet_image as image prompts; as it was where none can be used."""
    prompts = [prompt for prompt in body.controlnet_image if prompt.cn_img]
    if prompts and body.inpaints and not body.mixing_image_prompt_and_inpaint:
        notes.ignore(FIELD, "inpainting reads it with mixing_image_prompt_and_inpaint.")
        return request
    found = [(prompt, adapter_for(prompt, request.settings.model, catalog)) for prompt in prompts]
    for kind in dict.fromkeys(prompt.cn_type for prompt, adapter in found if adapter is None):
        notes.ignore(FIELD, f"no adapter for {kind} is installed for the model.")
    usable = [(prompt, adapter) for prompt, adapter in found if adapter is not None]
    if len(usable) > IP_ADAPTERS.limit:
        notes.ignore(FIELD, f"only its first {IP_ADAPTERS.limit} image prompts were used.")
    if any("cn_stop" in prompt.model_fields_set for prompt, _ in usable):
        notes.ignore(f"{FIELD}.cn_stop", "the images were used in all steps.")
    uses: list[IPAdapterUse] = []
    images: dict[str, CanonicalImage] = {}
    for name, (prompt, adapter) in zip(IP_ADAPTERS.images, usable, strict=False):
        image = read(SentImage(FIELD, prompt.cn_img or ""), IMAGE)
        notes.warnings.extend(image.warnings)
        weight = 1.0 if prompt.cn_weight is None else prompt.cn_weight
        uses.append(IPAdapterUse(adapter, notes.clamp(f"{FIELD}.cn_weight", weight, IP_ADAPTER_SCALES[1])))
        images[name] = prepare_whole_image(image.image)
    settings = replace(request.settings, ip_adapters=tuple(uses))
    return replace(request, settings=settings, conditioning_images=images)


def adapter_for(prompt: ImagePrompt, model: str | None, catalog: Catalog) -> str | None:
    """Return the slug of the first installed IP-Adapter for an image of this type and the model; None without one."""
    row = catalog.chosen_row(model)
    if row is None or prompt.cn_type not in IMAGE_PROMPTS:
        return None
    is_face = prompt.cn_type is ControlType.FACE_SWAP
    family = families.image_prompt_family(row.family)
    adapters = [adapter for adapter in catalog.adapters if adapter.kind == Kind.IP_ADAPTER and adapter.family == family]
    return next((adapter.slug for adapter in adapters if ("face" in adapter.slug) == is_face), None)
