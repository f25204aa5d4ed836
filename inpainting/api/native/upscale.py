"""`POST /api/upscale`: enlarge an image, as a generation that paints nothing."""

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
from inpainting.api.native.fields import settings_from
from inpainting.api.native.requests import IMAGE_FIELDS, ignored_fields, parent_in, read_new_body
from inpainting.api.native.schemas.generations import Painted, Pending
from inpainting.api.native.schemas.upscale import UPSCALE_BODY, UpscaleBatchForm, UpscaleForm
from inpainting.api.openapi import ACCEPTING, HOW_LONG, KEY, documented
from inpainting.api.views import AnyBodyView, inpaint
from inpainting.catalog.lookup import Catalog
from inpainting.core import upscaling
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.inputs import upscale_request
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.upscaling import UPSCALE
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import Submission
from inpainting.image_limits import image_limits

KNOWN_FIELDS = frozenset([*UpscaleForm.model_fields, *IMAGE_FIELDS, "csrfmiddlewaretoken"])


class Upscale(AnyBodyView):
    """Form fields and files, or JSON. The response waits for the result, unless a Prefer header limits the wait.

    The generation has the engine `upscale`; its result keeps the mode, the depth and the colour profile of the image,
    and its alpha is enlarged with it. The limits on the size of images apply to the result.
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
        decoded = read_image(sent, IMAGE, request)
        return fields.request_for(decoded.image), Submission(
            engine=UPSCALE.name,
            source_name=sent.name,
            warnings=(*warnings, *decoded.warnings),
            webhook_url=fields.values.get("webhook_url", ""),
            ignored_fields=ignored_fields(body, KNOWN_FIELDS),
            idempotency=idempotency,
            catalog=catalog,
            parent=parent,
        )


UPSCALING = Upscaling()


@dataclass(frozen=True, slots=True)
class UpscaleFields:
    """The fields of a body: their values by name, and what these say about the size and as settings."""

    values: Mapping[str, Any]
    upscale: upscaling.Upscale
    settings: PaintSettings

    @classmethod
    def read(
        cls, body: Body, catalog: Catalog, warnings: list[str], form: type[UpscaleBatchForm] = UpscaleForm
    ) -> UpscaleFields:
        """Read the fields of the form. Raises InvalidRequest, with the limit for a value outside its range.

        warnings: those about clamped numbers are added to it.
        """
        values = form.read(body.fields, clamped=warnings if body.is_lenient else None).sent()
        if values.get("model") in ("", registry.AUTO):
            del values["model"]
        return cls(values, upscaling.upscale_from(values), settings_from(sizeless(values), catalog))

    def request_for(self, image: CanonicalImage) -> InpaintRequest:
        """Return the request to enlarge an image. Raises what `Upscale.checked_size` raises."""
        return upscale_request(image, self.upscale.checked_size(image, image_limits()), self.settings)


def sizeless(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of settings: width and height are those of the result here, not of an engine's window."""
    return {name: value for name, value in values.items() if name not in ("width", "height")}
