"""The conditioning images of a body: control images, image prompts and reference images."""

from __future__ import annotations

from dataclasses import replace

from rest_framework.request import Request

from inpainting.api.images import ImageRole, read_image
from inpainting.api.native.bodies import Body
from inpainting.core.adapter_uses import IMAGE_LABELS, SCALED_IMAGES
from inpainting.core.codecs import DecodedImage
from inpainting.core.conditioning_images import prepare_unscaled_image
from inpainting.core.sentences import sentence

ROLES = {
    name: ImageRole(code_prefix="image", error_prefix=f"Invalid {label.lower()}")
    for name, label in IMAGE_LABELS.items()
}


def conditioning_images_in(body: Body, request: Request) -> dict[str, DecodedImage]:
    """The images that were sent, by their names in `InpaintRequest`, with warnings that name the field.

    Raises what `read_image` raises.
    """
    images = {}
    for name, sent in {name: body.image(name) for name in ROLES}.items():
        if sent is not None:
            decoded = read_image(sent, ROLES[name], request)
            warnings = tuple(sentence("{name}: {problem}", name=name, problem=warning) for warning in decoded.warnings)
            images[name] = replace(decoded, warnings=warnings)
    for name in images.keys() - SCALED_IMAGES:  # here, so that one is converted once for all of a batch
        images[name] = replace(images[name], image=prepare_unscaled_image(name, images[name].image))
    return images
