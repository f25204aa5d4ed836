"""The conditioning images of a body: control image and IP-Adapter image."""

from __future__ import annotations

from dataclasses import replace

from rest_framework.request import Request

from inpainting.api.native.bodies import Body
from inpainting.api.pictures import PictureRole, read_picture
from inpainting.core.codecs import DecodedPicture
from inpainting.core.conditioning_images import prepare_ip_adapter_image

ROLES = {
    "control_image": PictureRole(code_prefix="image", error_prefix="Invalid control image"),
    "ip_adapter_image": PictureRole(code_prefix="image", error_prefix="Invalid IP-Adapter image"),
}


def conditioning_images_in(body: Body, request: Request) -> dict[str, DecodedPicture]:
    """The images that were sent, by their names in `InpaintRequest`, with warnings that name the field.

    Raises what `read_picture` raises.
    """
    images = {}
    for name, sent in {name: body.picture(name) for name in ROLES}.items():
        if sent is not None:
            decoded = read_picture(sent, ROLES[name], request)
            warnings = tuple(f"{name}: {warning}" for warning in decoded.warnings)
            images[name] = replace(decoded, warnings=warnings)
    if "ip_adapter_image" in images:  # here, so that it is converted once for all images of a batch
        decoded = images["ip_adapter_image"]
        images["ip_adapter_image"] = replace(decoded, picture=prepare_ip_adapter_image(decoded.picture))
    return images
