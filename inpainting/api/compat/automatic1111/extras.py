"""`extra-single-image`: enlarge an image, by the upscaler of that name."""

from __future__ import annotations

from dataclasses import replace

from rest_framework.request import Request

from inpainting.api.compat.automatic1111.body import ExtrasBody, read_body
from inpainting.api.compat.callers_options import key_prefix
from inpainting.api.dialect import enlarging_request
from inpainting.api.images import read_field
from inpainting.catalog.lookup import Catalog, first_found
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.resizing import middle
from inpainting.core.upscaling import Upscale
from inpainting.engines.upscaling import UPSCALE, find_upscaler
from inpainting.generations.submit import Submission


def read_extras(request: Request) -> tuple[InpaintRequest, Submission]:
    """Read the request. Raises InvalidRequest for an upscaler that is not installed, and for a size that is no larger
    than the image's."""
    body, catalog = read_body(ExtrasBody, request), Catalog()
    decoded = read_field("image", body.image, request)
    image, upscale = decoded.image, Upscale(scale=body.upscaling_resize)
    if body.resize_mode == 1:
        image, upscale = covering(image, body)
    name = first_found(body.upscaler_1, lambda each: find_upscaler(each, catalog))
    return enlarging_request(image, upscale, PaintSettings(model=name)), Submission(
        engine=UPSCALE.name,
        warnings=decoded.warnings,
        sent_fields=tuple({"upscaler_1"} & body.model_fields_set),
        ignored_fields=tuple(body.fields_without_effect()),
        service_data={"caller": key_prefix(request)},
        catalog=catalog,
    )


def covering(image: CanonicalImage, body: ExtrasBody) -> tuple[CanonicalImage, Upscale]:
    """Return the image and the size by which it covers upscaling_resize_w x upscaling_resize_h; with upscaling_crop
    its middle, of their shape."""
    wanted, size = Size(body.upscaling_resize_w, body.upscaling_resize_h), image.size
    if body.upscaling_crop:
        return replace(image, pixels=middle(image.pixels, wanted)), Upscale(width=wanted.width, height=wanted.height)
    covers_by_width = wanted.width / size.width >= wanted.height / size.height
    return image, Upscale(width=wanted.width) if covers_by_width else Upscale(height=wanted.height)
