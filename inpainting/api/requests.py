"""A body of `POST /api/img2img` -> what is to be painted."""

from __future__ import annotations

from dataclasses import dataclass

from rest_framework.request import Request

from inpainting.api.bodies import Body, Sent, Shape, body_of
from inpainting.api.fields import Img2ImgForm, checked, settings_from
from inpainting.api.pictures import mask_picture, source_image
from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import submit
from inpainting.models import Generation

MOST_NAME_CHARACTERS = 255


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request read to its end; nothing of it is kept yet."""

    request: InpaintRequest
    engine: str
    source_name: str
    warnings: tuple[str, ...]


def accept(request: Request) -> Generation:
    """The accepted generation; the earlier one where the same body came with the same Idempotency-Key."""
    body = body_of(request)
    idempotency = idempotency_of(request, body)
    earlier = idempotency.earlier(request.user) if idempotency else None
    if earlier is not None:
        return earlier
    asked = read(body, request)
    return submit(
        asked.request,
        owner=request.user,
        engine=asked.engine,
        source_name=asked.source_name,
        warnings=asked.warnings,
        idempotency=idempotency,
    )


def idempotency_of(request: Request, body: Body) -> Idempotency | None:
    key = request.headers.get("Idempotency-Key")
    return None if key is None else Idempotency(key, body.digest(request.path.rstrip("/")))


def read(body: Body, request: Request) -> Asked:
    """Check the parts in the order in which the published API complains of them: image there, fields, image, mask."""
    sent = body.picture("image", "input_image")
    if sent is None:
        field = "input_image" if body.shape is Shape.JSON else "image"
        raise InvalidRequest("No image file provided", code="field_missing", field=field)
    values, warnings = checked(Img2ImgForm, body.fields, clamp=body.is_lenient)
    settings = settings_from(values)
    engine = registry.find(values.get("engine", registry.AUTO))
    image = source_image(sent, request)
    sent_mask = body.picture("mask")
    if sent_mask is None:
        raise InvalidRequest(
            "No mask file provided: without a mask nothing says what to repaint.", code="mask_required", field="mask"
        )
    mask = mask_picture(sent_mask, request)
    size = image.picture.size
    scaled = masks.scaling_note(mask.picture.size, size)
    pixels = masks.normalise(mask.picture, polarity=MaskPolarity(values["mask_polarity"]), size=size)
    return Asked(
        InpaintRequest(image.picture, pixels, settings),
        engine=engine.name,
        source_name=name_of(sent),
        warnings=(*warnings, *image.warnings, *mask.warnings, *([scaled] if scaled else [])),
    )


def name_of(sent: Sent) -> str:
    """What the caller's file was called; nothing where it came as text."""
    return (getattr(sent.value, "name", None) or "")[-MOST_NAME_CHARACTERS:]
