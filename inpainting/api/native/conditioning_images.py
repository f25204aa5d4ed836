"""The conditioning images of a body: control image and IP-Adapter image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from inpainting.api.native.bodies import Body
from inpainting.api.pictures import PictureRole, SentPicture, read_picture
from inpainting.core import masks
from inpainting.core.codecs import DecodedPicture
from inpainting.core.conditioning_images import prepare_control_image, prepare_ip_adapter_image
from inpainting.core.geometry import Size
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest

CONTROL_IMAGE = PictureRole(code_prefix="image", error_prefix="Invalid control image")
IP_ADAPTER_IMAGE = PictureRole(code_prefix="image", error_prefix="Invalid IP-Adapter image")


@dataclass(frozen=True, slots=True, eq=False)
class ConditioningImages:
    """The decoded images; None where none was sent. The IP-Adapter image is already prepared."""

    control_image: DecodedPicture | None = None
    ip_adapter_image: DecodedPicture | None = None

    def prepared(self, size: Size) -> tuple[dict[str, Picture], tuple[str, ...]]:
        """For a source image of this size: the pictures by their names in `InpaintRequest`, and warnings."""
        pictures: dict[str, Picture] = {}
        warnings: list[str] = []
        if self.control_image is not None:
            pictures["control_image"] = prepare_control_image(self.control_image.picture, size)
            scaled = masks.scaling_note(self.control_image.picture.size, size, noun="control image")
            warnings += [*self.control_image.warnings, *([scaled] if scaled else [])]
        if self.ip_adapter_image is not None:
            pictures["ip_adapter_image"] = self.ip_adapter_image.picture
            warnings += self.ip_adapter_image.warnings
        return pictures, tuple(warnings)

    def added_to(self, request: InpaintRequest) -> tuple[InpaintRequest, tuple[str, ...]]:
        """The request with these pictures, and warnings about them."""
        pictures, warnings = self.prepared(request.image.size)
        control_image, ip_adapter_image = pictures.get("control_image"), pictures.get("ip_adapter_image")
        return replace(request, control_image=control_image, ip_adapter_image=ip_adapter_image), warnings


def conditioning_images_in(body: Body, user: Any) -> ConditioningImages:
    """Raises what `read_picture` raises."""
    control_image, ip_adapter_image = body.picture("control_image"), body.picture("ip_adapter_image")
    return ConditioningImages(
        None if control_image is None else read_conditioning_image(control_image, CONTROL_IMAGE, user),
        None if ip_adapter_image is None else read_ip_adapter_image(ip_adapter_image, user),
    )


def read_ip_adapter_image(sent: SentPicture, user: Any) -> DecodedPicture:
    decoded = read_conditioning_image(sent, IP_ADAPTER_IMAGE, user)
    return replace(decoded, picture=prepare_ip_adapter_image(decoded.picture))


def read_conditioning_image(sent: SentPicture, role: PictureRole, user: Any) -> DecodedPicture:
    """As `read_picture`, with warnings that name the field."""
    picture = read_picture(sent, role, user)
    return replace(picture, warnings=tuple(f"{sent.field}: {warning}" for warning in picture.warnings))
