"""A body of `POST /api/batches/` -> what is to be painted, picture by picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from rest_framework.request import Request

from inpainting.api.bodies import Sent, body_of
from inpainting.api.fields import Img2ImgForm, checked, settings_from
from inpainting.api.pictures import mask_picture, source_image
from inpainting.api.references import References, references_in
from inpainting.api.requests import idempotency_of, name_of, put_together, webhook_url_of
from inpainting.core.codecs import DecodedPicture
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import PaintSettings
from inpainting.engines import registry
from inpainting.generations.batches import Wanted, submit_batch
from inpainting.models import Batch

Part = Sent | InvalidRequest
"""A picture as it was sent, or why it is none."""


@dataclass(frozen=True, slots=True)
class Common:
    """What holds for every picture of a batch."""

    settings: PaintSettings
    polarity: MaskPolarity
    warnings: Sequence[str]
    references: References


def accept_batch(request: Request) -> Batch:
    """The accepted batch; the earlier one where the same body came with the same Idempotency-Key.

    Raises InvalidRequest for what is wrong with the fields, with how many pictures and masks there are, with the
    further pictures, and with the mask where there is one for all; whatever else is wrong with a picture or its mask is
    said of that item alone.
    """
    body = body_of(request, lists=("images", "masks"))
    idempotency = idempotency_of(request, body)
    earlier = idempotency.earlier_batch(request.user) if idempotency else None
    if earlier is not None:
        return earlier
    images, masks = body.pictures("images"), body.pictures("masks")
    check_counts(len(images), len(masks))
    values, warnings = checked(Img2ImgForm, body.fields, clamp=body.is_lenient)
    wanted_settings, polarity = settings_from(values), MaskPolarity(values["mask_polarity"])
    webhook_url, engine = webhook_url_of(values), values.get("engine", registry.AUTO)
    registry.check_name(engine)  # before any picture is read
    common = Common(wanted_settings, polarity, warnings, references_in(body, request))
    every: Sequence[Part | DecodedPicture] = masks
    if len(masks) == 1:
        every = [read_mask(masks[0], request)] * len(images)
    return submit_batch(
        (wanted(image, mask, common, request) for image, mask in zip(images, every, strict=True)),
        owner=request.user,
        engine=engine,
        webhook_url=webhook_url,
        idempotency=idempotency,
    )


def check_counts(images: int, masks: int) -> None:
    """At least one picture, at most settings.BATCH_MAX_ITEMS, and one mask for all or one for each."""
    if not images:
        raise InvalidRequest("No image files provided", code="field_missing", field="images")
    if images > settings.BATCH_MAX_ITEMS:
        raise InvalidRequest(
            f"A batch has at most {settings.BATCH_MAX_ITEMS} images; this one has {images}.",
            code="field_out_of_range",
            field="images",
            limit=settings.BATCH_MAX_ITEMS,
            actual=images,
        )
    if not masks:
        raise InvalidRequest(
            "No mask files provided: without a mask nothing says what to repaint.", code="mask_required", field="masks"
        )
    if masks not in (1, images):
        raise InvalidRequest(
            f"There are {images} images and {masks} masks; send one mask for all, or one for each image.",
            field="masks",
            limit=images,
            actual=masks,
        )


def wanted(image: Part, mask: Part | DecodedPicture, common: Common, request: Request) -> Wanted:
    """One picture, read only when it is its turn: never are two of them in memory."""
    name = name_of(image) if isinstance(image, Sent) else ""
    try:
        picture = source_image(sent(image), request)
        read = mask if isinstance(mask, DecodedPicture) else read_mask(mask, request)
        inpaint_request, notes = put_together(picture, read, common.settings, common.polarity)
        inpaint_request, more_notes = common.references.with_them(inpaint_request)
    except InvalidRequest as error:
        return Wanted(name, error)
    return Wanted(name, inpaint_request, (*common.warnings, *notes, *more_notes))


def read_mask(mask: Part, request: Request) -> DecodedPicture:
    return mask_picture(sent(mask), request)


def sent(part: Part) -> Sent:
    if isinstance(part, InvalidRequest):
        raise part
    return part
