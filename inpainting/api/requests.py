"""A body of `POST /api/img2img` -> what is to be painted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rest_framework.request import Request

from inpainting import webhooks
from inpainting.api.bodies import Body, Sent, Shape, body_of
from inpainting.api.fields import Img2ImgForm, checked, settings_from
from inpainting.api.pictures import mask_picture, source_image
from inpainting.api.references import references_in
from inpainting.core import masks
from inpainting.core.codecs import DecodedPicture
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import submit
from inpainting.models import Generation

MOST_NAME_CHARACTERS = 255


@dataclass(frozen=True, slots=True, eq=False)
class Incoming:
    """A request read to its end; nothing of it is kept yet. engine: its name, or "auto"."""

    request: InpaintRequest
    engine: str
    source_name: str
    warnings: tuple[str, ...]
    webhook_url: str = ""


def accept(request: Request) -> Generation:
    """The accepted generation; the earlier one where the same body came with the same Idempotency-Key."""
    body = body_of(request)
    idempotency = idempotency_of(request, body)
    earlier = idempotency.earlier(request.user) if idempotency else None
    if earlier is not None:
        return earlier
    incoming = read(body, request)
    return submit(
        incoming.request,
        owner=request.user,
        engine=incoming.engine,
        source_name=incoming.source_name,
        warnings=incoming.warnings,
        idempotency=idempotency,
        webhook_url=incoming.webhook_url,
    )


def idempotency_of(request: Request, body: Body) -> Idempotency | None:
    key = request.headers.get("Idempotency-Key")
    return None if key is None else Idempotency(key, body.digest(request.path.rstrip("/")))


def read(body: Body, request: Request) -> Incoming:
    """Check the parts in the order in which the published API complains of them: image there, fields, image, mask;
    then the further pictures."""
    sent = body.picture("image", "input_image")
    if sent is None:
        field = "input_image" if body.shape is Shape.JSON else "image"
        raise InvalidRequest("No image file provided", code="field_missing", field=field)
    values, warnings = checked(Img2ImgForm, body.fields, clamp=body.is_lenient)
    settings, webhook_url = settings_from(values), webhook_url_of(values)
    engine = values.get("engine", registry.AUTO)
    registry.check_name(engine)
    image = source_image(sent, request)
    sent_mask = body.picture("mask")
    if sent_mask is not None:
        mask = mask_picture(sent_mask, request)
        inpaint_request, notes = put_together(image, mask, settings, MaskPolarity(values["mask_polarity"]))
    elif registry.find(engine, settings).needs_surroundings:
        raise InvalidRequest(
            "No mask file provided: without a mask nothing says what to repaint, and only a diffusion model can "
            "repaint all of a picture.",
            code="mask_required",
            field="mask",
        )
    else:
        inpaint_request, notes = all_of(image, settings)
    inpaint_request, more_notes = references_in(body, request).with_them(inpaint_request)
    return Incoming(
        inpaint_request,
        engine=engine,
        source_name=name_of(sent),
        warnings=(*warnings, *notes, *more_notes),
        webhook_url=webhook_url,
    )


def put_together(
    image: DecodedPicture, mask: DecodedPicture, settings: PaintSettings, polarity: MaskPolarity
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """What is to be painted, and warnings about its parts; a mask of another size is scaled."""
    size = image.picture.size
    scaled = masks.scaling_note(mask.picture.size, size)
    pixels = masks.normalise(mask.picture, polarity=polarity, size=size)
    notes = (*image.warnings, *mask.warnings, *([scaled] if scaled else []))
    return InpaintRequest(image.picture, pixels, settings), notes


def all_of(image: DecodedPicture, settings: PaintSettings) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Plain img2img: all of the picture is repainted."""
    size = image.picture.size
    return InpaintRequest(image.picture, np.full((size.height, size.width), 255, np.uint8), settings), image.warnings


def name_of(sent: Sent) -> str:
    """What the caller's file was called; nothing where it came as text."""
    return (getattr(sent.value, "name", None) or "")[-MOST_NAME_CHARACTERS:]


def webhook_url_of(values: Mapping[str, Any]) -> str:
    """The form's webhook_url, or nothing. Raises InvalidRequest for one that may not be called."""
    url: str = values.get("webhook_url", "")
    if url:
        webhooks.check_url(url, field="webhook_url")
    return url
