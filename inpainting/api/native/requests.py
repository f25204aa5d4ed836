"""A body of `POST /api/img2img` -> `InpaintRequest` and `Submission`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request

from inpainting.api.dialect import shown_names
from inpainting.api.idempotency import RepeatedRequest
from inpainting.api.images import IMAGE, read_image
from inpainting.api.native.bodies import Body, Shape, read_body
from inpainting.api.native.conditioning_images import conditioning_images_in
from inpainting.api.native.fields import ALIASES, GenerationForm, check_fields, settings_from
from inpainting.api.native.front_end_adapters import with_adapters
from inpainting.api.native.sent_masks import read_mask, select_mask
from inpainting.catalog.lookup import Catalog
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.errors import InvalidRequest
from inpainting.core.inputs import build_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.outpainting import outpaint_from
from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import sentence
from inpainting.engines import registry
from inpainting.generations import history
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import Submission
from inpainting.image_limits import image_limits
from inpainting.models import Generation

IMAGE_FIELDS = ("image", "input_image")
"""The fields that hold the source image; the first that is sent counts."""
KNOWN_FIELDS = frozenset([*GenerationForm.model_fields, *ALIASES, *IMAGE_FIELDS, "mask", *CONDITIONING_IMAGES]) | {
    "csrfmiddlewaretoken"
}
"""The fields that are read from a body; the last by Django."""


def parse(request: Request) -> tuple[InpaintRequest, Submission]:
    """Read the request of a body.

    Raises RepeatedRequest, before any image is read, where the same body was accepted with the same Idempotency-Key.
    """
    body, idempotency = read_new_body(request)
    return read(body, request, idempotency=idempotency)


def read_new_body(request: Request) -> tuple[Body, Idempotency | None]:
    """Return the body, and its idempotency key if it has one. Raises RepeatedRequest, see `parse`."""
    body = read_body(request)
    idempotency = read_idempotency(request, body)
    earlier = idempotency.earlier(request.user) if idempotency else None
    if earlier is not None:
        raise RepeatedRequest(earlier)
    return body, idempotency


def read_idempotency(request: Request, body: Body) -> Idempotency | None:
    key = request.headers.get("Idempotency-Key")
    return None if key is None else Idempotency(key, body.digest(request.path.rstrip("/")))


def read(body: Body, request: Request, *, idempotency: Idempotency | None = None) -> tuple[InpaintRequest, Submission]:
    """Read and check the body. The first error is raised, in the order of the published API: a missing image, the
    fields, the image, the mask; then the conditioning images."""
    sent = body.image(*IMAGE_FIELDS)
    if sent is None:
        field = "input_image" if body.shape is Shape.JSON else "image"
        raise InvalidRequest("No image file provided", code="field_missing", field=field)
    catalog = Catalog()
    body, about_adapters = with_adapters(body, catalog)
    values, warnings = check_fields(GenerationForm, body.fields, catalog, clamp=body.is_lenient)
    settings = settings_from(values, catalog)
    parent = parent_in(values, request.user)
    outpaint = outpaint_from(values)
    engine = values.get("engine", registry.AUTO)
    registry.check_name(engine)
    image = read_image(sent, IMAGE, request)
    sent_mask, select = body.image("mask"), values.get("select")
    polarity = MaskPolarity(values["mask_polarity"])
    mask = None if sent_mask is None else read_mask(sent_mask, request, polarity)
    if select is not None:
        if mask is not None:
            raise InvalidRequest(sentence("Send one of mask and select."), field="select")
        mask = select_mask(select, image.image, request)
    images = conditioning_images_in(body, request)
    decoded, polarity = (None, polarity) if mask is None else (mask.decoded, mask.polarity)
    inpaint_request, notes = build_request(image, decoded, settings, polarity, images, outpaint, limits=image_limits())
    return inpaint_request, Submission(
        engine=engine,
        source_name=sent.name,
        warnings=(*about_adapters, *warnings, *notes),
        webhook_url=values.get("webhook_url", ""),
        ignored_fields=ignored_fields(body),
        idempotency=idempotency,
        catalog=catalog,
        parent=parent,
    )


def ignored_fields(body: Body, known: frozenset[str] = KNOWN_FIELDS) -> tuple[str, ...]:
    """The fields and files that nothing reads, such as those of other services, by the names that answers list."""
    unknown = sorted((body.fields.keys() | body.files.keys()) - known)
    return shown_names(unknown)


def parent_in(values: Mapping[str, Any], user: Any) -> Generation | None:
    """The generation that the form's `parent` names. Raises InvalidRequest unless it is one of the user's."""
    if "parent" not in values:
        return None
    parent = history.for_user(user).filter(pk=values["parent"]).first()
    if parent is None:
        raise InvalidRequest(
            sentence("parent: You have no generation with this id."), code="parent_unknown", field="parent"
        )
    return parent
