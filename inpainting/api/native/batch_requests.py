"""A body of `POST /api/batches/` or `POST /api/batches/upscale/` -> an accepted batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from rest_framework.request import Request

from inpainting.api.images import IMAGE, SentImage, read_image
from inpainting.api.native.bodies import Body, read_body
from inpainting.api.native.conditioning_images import conditioning_images_in
from inpainting.api.native.fields import Img2ImgForm, check_fields, settings_from
from inpainting.api.native.requests import read_idempotency
from inpainting.api.native.schemas.upscale import UpscaleBatchForm
from inpainting.api.native.sent_masks import SentMask, read_mask
from inpainting.api.native.upscale import UpscaleFields
from inpainting.catalog.lookup import Catalog
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.inputs import build_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.outpainting import OUTPAINT_ROWS, Outpaint, outpaint_from
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import sentence
from inpainting.engines import registry
from inpainting.generations.batches import BatchInput, submit_batch
from inpainting.generations.idempotency import Idempotency
from inpainting.image_limits import image_limits
from inpainting.models import Batch
from inpainting.planning import planner

OneImage = SentImage | InvalidRequest
"""An image as sent, or the error for one that cannot be read."""
Build = Callable[[DecodedImage], tuple[InpaintRequest, Sequence[str]]]
"""An image -> its request, with warnings. Raises InvalidRequest."""


@dataclass(frozen=True, slots=True)
class SharedInput:
    """The parts of a batch request that apply to all of its images."""

    settings: PaintSettings
    polarity: MaskPolarity
    outpaint: Outpaint | None
    warnings: Sequence[str]
    conditioning_images: Mapping[str, DecodedImage]


def accept_batch(request: Request) -> Batch:
    """Submit the batch; the earlier one for the same body with the same Idempotency-Key.

    Raises InvalidRequest for an invalid field, for wrong numbers of images and masks, and for an invalid
    conditioning image or shared mask. Any other invalid image or mask refuses its item alone.
    """
    body, idempotency, earlier = read_batch(request, "images", "masks")
    if earlier is not None:
        return earlier
    images, masks = body.images("images"), body.images("masks")
    check_counts(len(images), len(masks))
    catalog = Catalog()
    values, warnings = check_fields(Img2ImgForm, body.fields, catalog, clamp=body.is_lenient)
    paint_settings, polarity = settings_from(values, catalog), MaskPolarity(values["mask_polarity"])
    engine = values.get("engine", registry.AUTO)
    registry.check_name(engine)  # Before any image is read.
    says_where = not polarity.needs_mask or any(row.public_name in body.fields for row in OUTPAINT_ROWS)
    if not masks and not says_where and planner(catalog).choose(engine, paint_settings).engine.needs_surroundings:
        raise InvalidRequest(
            sentence("No mask files provided; a batch needs one mask for all images, or one for each."),
            code="mask_required",
            field="masks",
        )
    shared = SharedInput(
        paint_settings, polarity, outpaint_from(values), warnings, conditioning_images_in(body, request)
    )
    masks_of_items = masks_for(images, masks, request, polarity)
    return submit_batch(
        (
            batch_input(image, request, partial(painting, mask=mask, shared=shared, request=request))
            for image, mask in zip(images, masks_of_items, strict=True)
        ),
        owner=request.user,
        engine=engine,
        webhook_url=values.get("webhook_url", ""),
        idempotency=idempotency,
        catalog=catalog,
    )


def accept_upscale_batch(request: Request) -> Batch:
    """Submit the batch, whose images are enlarged; the earlier one for the same body with the same Idempotency-Key.

    Raises InvalidRequest for an invalid field and a wrong number of images. An invalid image, and one that would become
    too large, refuses its item alone.
    """
    body, idempotency, earlier = read_batch(request, "images", "masks")
    if earlier is not None:
        return earlier
    images, masks = body.images("images"), body.images("masks")
    check_counts(len(images), len(masks))
    catalog, warnings = Catalog(), list[str]()
    fields = UpscaleFields.read(body, catalog, warnings, UpscaleBatchForm)
    masks_of_items = masks_for(images, masks if fields.upscaler else [], request, fields.polarity)

    def build(image: DecodedImage, *, mask: OneImage | SentMask | None) -> tuple[InpaintRequest, Sequence[str]]:
        inpaint_request, notes = fields.request_for(image, mask_of_item(mask, request, fields.polarity))
        return inpaint_request, (*warnings, *notes)

    return submit_batch(
        (
            batch_input(image, request, partial(build, mask=mask))
            for image, mask in zip(images, masks_of_items, strict=True)
        ),
        owner=request.user,
        engine=fields.engine,
        webhook_url=fields.values.get("webhook_url", ""),
        idempotency=idempotency,
        catalog=catalog,
    )


def read_batch(request: Request, *lists: str) -> tuple[Body, Idempotency | None, Batch | None]:
    """Return the body, its idempotency key, and the batch that was accepted earlier with the same body and key."""
    body = read_body(request, lists=lists)
    idempotency = read_idempotency(request, body)
    return body, idempotency, idempotency.earlier_batch(request.user) if idempotency else None


def check_counts(images: int, masks: int) -> None:
    """Raises InvalidRequest unless there are 1 to BATCH_MAX_ITEMS images, and no mask, one, or one for each image."""
    if not images:
        raise InvalidRequest(sentence("No image files provided"), code="field_missing", field="images")
    if images > settings.BATCH_MAX_ITEMS:
        raise InvalidRequest(
            sentence(
                "A batch has at most {batch_max_items} images; this one has {images}.",
                batch_max_items=settings.BATCH_MAX_ITEMS,
                images=images,
            ),
            code="field_out_of_range",
            field="images",
            limit=settings.BATCH_MAX_ITEMS,
            actual=images,
        )
    if masks not in (0, 1, images):
        raise InvalidRequest(
            sentence(
                "There are {images} images and {masks} masks; send one mask for all, or one for each image.",
                images=images,
                masks=masks,
            ),
            field="masks",
            limit=images,
            actual=masks,
        )


def masks_for(
    images: Sequence[OneImage], masks: Sequence[OneImage], request: Request, polarity: MaskPolarity
) -> Sequence[OneImage | SentMask | None]:
    """Return the mask of each image: one for all is read here, one for each with its item."""
    if len(masks) == 1:
        return [read_mask(readable(masks[0]), request, polarity)] * len(images)
    return masks or [None] * len(images)


def mask_of_item(mask: OneImage | SentMask | None, request: Request, polarity: MaskPolarity) -> SentMask | None:
    """Return the mask of one item, read. Raises InvalidRequest and InvalidImage."""
    if mask is None or isinstance(mask, SentMask):
        return mask
    return read_mask(readable(mask), request, polarity)


def batch_input(image: OneImage, request: Request, build: Build) -> BatchInput:
    """Read one item of the batch. Called when it is submitted, so that at most one is in memory."""
    name = image.name if isinstance(image, SentImage) else ""
    try:
        inpaint_request, warnings = build(read_image(readable(image), IMAGE, request))
    except InvalidRequest as error:
        return BatchInput(name, error)
    return BatchInput(name, inpaint_request, tuple(warnings))


def painting(
    image: DecodedImage, *, mask: OneImage | SentMask | None, shared: SharedInput, request: Request
) -> tuple[InpaintRequest, Sequence[str]]:
    sent = mask_of_item(mask, request, shared.polarity)
    decoded, polarity = (None, shared.polarity) if sent is None else (sent.decoded, sent.polarity)
    inpaint_request, notes = build_request(
        *(image, decoded, shared.settings, polarity, shared.conditioning_images, shared.outpaint),
        limits=image_limits(),
    )
    return inpaint_request, (*shared.warnings, *notes)


def readable(sent: OneImage) -> SentImage:
    if isinstance(sent, InvalidRequest):
        raise sent
    return sent
