"""`POST /api/upscale`: enlarge an image, as a generation that paints nothing, or only detail in the enlarged image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts.models import Scope
from inpainting.api.images import IMAGE, read_image
from inpainting.api.native.bodies import Body, Shape
from inpainting.api.native.dialect import NativeApi
from inpainting.api.native.fields import ALIASES, fall_back, settings_from
from inpainting.api.native.requests import IMAGE_FIELDS, ignored_fields, parent_in, read_new_body
from inpainting.api.native.schemas.generations import Painted, Pending
from inpainting.api.native.schemas.upscale import UPSCALE_BODY, UpscaleBatchForm, UpscaleForm
from inpainting.api.native.sent_masks import SentMask, read_mask
from inpainting.api.openapi import ACCEPTING, HOW_LONG, KEY, documented
from inpainting.api.views import AnyBodyView, inpaint
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ControlImageKind
from inpainting.core import upscaling
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.inputs import detail_request, upscale_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.upscaling import DETAIL_ROWS, UPSCALE, find_upscaler, with_detail
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import Submission
from inpainting.image_limits import image_limits

DETAIL_NAMES = frozenset(row.public_name for row in DETAIL_ROWS)
"""The fields of `DETAIL_ROWS`."""
DETAIL_ALIASES = {alias: name for alias, name in ALIASES.items() if name in DETAIL_NAMES}
FIELDS_OF_DETAIL = DETAIL_NAMES | DETAIL_ALIASES.keys() | {"detail_model", "mask", "mask_polarity"}
"""The fields that have no effect without `detail`."""
KNOWN_FIELDS = FIELDS_OF_DETAIL | {*UpscaleForm.model_fields, *IMAGE_FIELDS, "csrfmiddlewaretoken"}


class UpscaleView(AnyBodyView):
    """Form fields and files, or JSON. The response waits for the result, unless a Prefer header limits the wait.

    The generation has the engine `upscale`; its result keeps the mode, the depth and the colour profile of the image,
    and its alpha is enlarged with it. The limits on the size of images apply to the result.

    With `detail` a diffusion model then paints the enlarged image in tiles, as `POST /api/img2img` does with `tiled`
    and a denoising_strength of `detail`; the generation has the engine `diffusion`.
    """

    required_scope = Scope.GENERATE
    takes_images = True

    @documented(
        "Enlarge an image",
        {200: Painted, 202: Pending},
        problems=(*ACCEPTING, 410, 500),
        request=UPSCALE_BODY,
        parameters=[HOW_LONG, KEY],
    )
    def post(self, request: Request) -> HttpResponseBase:
        return inpaint(UPSCALING, request)


class Upscaling(NativeApi):
    """The native API, whose requests enlarge an image."""

    def translate(self, body: Body, catalog: Catalog, warnings: list[str]) -> Body:
        """Return the body with its fields in the names of UpscaleForm. Warnings are added."""
        return body

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        body, idempotency = read_new_body(request)
        return self.read(body, request, idempotency=idempotency)

    def read(
        self, body: Body, request: Request, *, idempotency: Idempotency | None = None
    ) -> tuple[InpaintRequest, Submission]:
        """Read and check the body, its image last. Raises InvalidRequest and InvalidImage."""
        sent = body.image(*IMAGE_FIELDS)
        if sent is None:
            field = "input_image" if body.shape is Shape.JSON else "image"
            raise InvalidRequest("No image file provided", code="field_missing", field=field)
        catalog, warnings = Catalog(), list[str]()
        body = self.translate(body, catalog, warnings)
        fields = UpscaleFields.read(body, catalog, warnings)
        parent = parent_in(fields.values, request.user)
        decoded, sent_mask = read_image(sent, IMAGE, request), body.image("mask")
        mask = read_mask(sent_mask, request, fields.polarity) if sent_mask and fields.upscaler else None
        enlarging, notes = fields.request_for(decoded, mask)
        return enlarging, Submission(
            engine=fields.engine,
            source_name=sent.name,
            warnings=(*warnings, *notes),
            webhook_url=fields.values.get("webhook_url", ""),
            ignored_fields=fields.ignored_in(body),
            idempotency=idempotency,
            catalog=catalog,
            parent=parent,
        )


UPSCALING = Upscaling()


@dataclass(frozen=True, slots=True)
class UpscaleFields:
    """The fields of a body: their values by name, and what these say about the size and as settings.

    upscaler: the name of what enlarges the image before detail is painted; "" without detail.
    """

    values: Mapping[str, Any]
    upscale: upscaling.Upscale
    settings: PaintSettings
    upscaler: str = ""

    @classmethod
    def read(
        cls, body: Body, catalog: Catalog, warnings: list[str], form: type[UpscaleBatchForm] = UpscaleForm
    ) -> UpscaleFields:
        """Read the fields of the form. Raises InvalidRequest, with the limit for a value outside its range.

        warnings: those about clamped numbers are added to it.
        """
        named = {DETAIL_ALIASES[name]: value for name, value in body.fields.items() if name in DETAIL_ALIASES}
        values = form.read(named | dict(body.fields), clamped=warnings if body.is_lenient else None).sent()
        if values.get("model") in ("", registry.AUTO):
            del values["model"]
        upscale = upscaling.upscale_from(values)
        without_detail = {name: value for name, value in sizeless(values).items() if name not in DETAIL_NAMES}
        if not upscale.detail:
            return cls(values, upscale, settings_from(without_detail, catalog))
        upscaler = find_upscaler(values.get("model"), catalog)
        painting = {name: value for name, value in values.items() if name in DETAIL_NAMES}
        painting["model"] = detail_model(upscale.detail_model, catalog)
        settings = settings_from({**without_detail, **fall_back(painting, catalog, warnings)}, catalog)
        tile_control = catalog.first_controlnet(settings.model, ControlImageKind.TILE)
        return cls(values, upscale, with_detail(settings, upscale.detail, tile_control=tile_control), upscaler)

    @property
    def engine(self) -> str:
        """The name of the engine of the generation."""
        return DIFFUSION.name if self.upscaler else UPSCALE.name

    def ignored_in(self, body: Body) -> tuple[str, ...]:
        """Return the names of the fields of a body that have no effect."""
        return ignored_fields(body, KNOWN_FIELDS if self.upscaler else KNOWN_FIELDS - FIELDS_OF_DETAIL)

    @property
    def polarity(self) -> MaskPolarity:
        """How a mask is read."""
        return MaskPolarity(self.values["mask_polarity"])

    def request_for(self, image: DecodedImage, mask: SentMask | None = None) -> tuple[InpaintRequest, tuple[str, ...]]:
        """Return the request to enlarge an image, with warnings about its images. mask: of where detail is added.

        Raises what `Upscale.checked_size` raises.
        """
        size = self.upscale.checked_size(image.image, image_limits())
        if not self.upscaler:
            return upscale_request(image.image, size, self.settings), tuple(image.warnings)
        decoded, polarity = (None, self.polarity) if mask is None else (mask.decoded, mask.polarity)
        return detail_request(image, decoded, self.settings, polarity, size=size, upscaler=self.upscaler)


def detail_model(name: str | None, catalog: Catalog) -> str:
    """Return the slug of the diffusion model of that name, of the default one for None.

    Raises InvalidRequest, `engine_not_installed` or what `Catalog.find` raises, with the field of the request.
    """
    try:
        DIFFUSION.check_installed()
        return catalog.find(None if name in (None, "", registry.AUTO) else name, DIFFUSION.name).slug
    except InvalidRequest as error:
        error.field = "detail_model"
        raise


def sizeless(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of settings: width and height are those of the result here, not of an engine's window."""
    return {name: value for name, value in values.items() if name not in ("width", "height")}
