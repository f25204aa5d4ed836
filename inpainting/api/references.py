"""The further pictures that a body brings: what guides the painting, and what it looks at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rest_framework.request import Request

from inpainting.api.bodies import Body, Sent
from inpainting.api.pictures import CONTROL_IMAGE, IP_ADAPTER_IMAGE, reference_picture
from inpainting.core import masks
from inpainting.core.codecs import DecodedPicture
from inpainting.core.conditioning_images import prepare_control_image, prepare_ip_adapter_image
from inpainting.core.geometry import Size
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """As they were sent, what is looked at in its form already; None: not at all."""

    control_image: DecodedPicture | None = None
    ip_adapter_image: DecodedPicture | None = None

    def beside(self, size: Size) -> tuple[dict[str, Picture], tuple[str, ...]]:
        """Those of a request whose image has that size, by their names there, and warnings about them."""
        found: dict[str, Picture] = {}
        notes: list[str] = []
        if self.control_image is not None:
            found["control_image"] = prepare_control_image(self.control_image.picture, size)
            scaled = masks.scaling_note(self.control_image.picture.size, size, noun="control image")
            notes += [*self.control_image.warnings, *([scaled] if scaled else [])]
        if self.ip_adapter_image is not None:
            found["ip_adapter_image"] = self.ip_adapter_image.picture
            notes += self.ip_adapter_image.warnings
        return found, tuple(notes)

    def with_them(self, request: InpaintRequest) -> tuple[InpaintRequest, tuple[str, ...]]:
        """The request with them, and warnings about them."""
        found, notes = self.beside(request.image.size)
        control, looked_at = found.get("control_image"), found.get("ip_adapter_image")
        return replace(request, control_image=control, ip_adapter_image=looked_at), notes


def references_in(body: Body, request: Request) -> References:
    """Raises InvalidRequest for what is no picture, as for the image itself."""
    control, looked_at = body.picture("control_image"), body.picture("ip_adapter_image")
    return References(
        None if control is None else reference_picture(control, CONTROL_IMAGE, request),
        None if looked_at is None else looked_at_picture(looked_at, request),
    )


def looked_at_picture(sent: Sent, request: Request) -> DecodedPicture:
    decoded = reference_picture(sent, IP_ADAPTER_IMAGE, request)
    return replace(decoded, picture=prepare_ip_adapter_image(decoded.picture))
