"""A request of Deep-Image's API -> `InpaintRequest`: inpainting, outpainting, enlarging, or another background."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from rest_framework.request import Request

from inpainting import webhooks
from inpainting.api.analyses import describe_in_worker
from inpainting.api.compat.deep_image.backgrounds import with_background
from inpainting.api.compat.deep_image.body import (
    BLUR,
    INPAINTING,
    NAME,
    OUTPAINTING,
    UPSCALE,
    DeepImageForm,
    echo,
    names_of,
    unknown_fields,
)
from inpainting.api.concurrency_limits import limit_segmentations
from inpainting.api.dialect import (
    MAX_IGNORED_FIELDS,
    build_scaled_request,
    build_service_request,
    enlarging_request,
    origin_of,
    shown_name,
)
from inpainting.api.errors import Busy, api_error
from inpainting.api.images import NAMED_IMAGE, NAMED_MASK, SentImage, read_image
from inpainting.api.media.links import ending_key
from inpainting.captioning import describe_colours, find_captioner
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ControlImageKind
from inpainting.core.codecs.formats import PNG
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.outpainting import Outpaint
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import DEFAULT_STRENGTH
from inpainting.core.upscaling import Upscale
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.generations.submit import Submission
from inpainting.image_limits import image_limits
from inpainting.planning import planner


def source_file(request: Request) -> SentImage | None:
    names = (name for name in ("image", "fileName") if name in request.FILES)
    return next((SentImage(name, request.FILES[name]) for name in names), None)


def read_request(
    sent: dict[str, Any], file: SentImage | None, request: Request, *, fetch_until: float | None
) -> tuple[InpaintRequest, Submission]:
    """Read and check the fields, then the images. Raises InvalidRequest."""
    catalog, values = Catalog(), DeepImageForm.read(sent).sent()
    generate = values.get("background", {}).get("generate", {})
    source = file or (image_text("url", values["url"]) if values.get("url", "").strip() else None)
    if source is None:
        raise InvalidRequest("File or image url is required", code="source_missing", field="url")
    check_task(values, generate)
    webhook_url = values.get("webhooks", {}).get("complete", "")
    if webhook_url:  # before the image is read and described, which takes seconds
        webhooks.check_url(webhook_url, field="webhooks.complete")
    read = partial(read_image, request=request, fetch_until=fetch_until)
    image, mask = read(source, NAMED_IMAGE), None
    if generate.get("adapter_type") == INPAINTING:
        mask = read(image_text("ip_image2", generate["ip_image2"]), NAMED_MASK)
    paint_settings = settings_of(values, generate, image.format, catalog)
    paint_settings, described = add_description(paint_settings, image.image, values, catalog, request.user)
    size, ignored = requested_size(values, image.image), [*unknown_fields(sent, DeepImageForm)]
    ignored += fields_without_use(values, paint_settings)
    ignored += [shown_name(name) for name in request.FILES if name != source.field]
    if file is not None and values.get("url", "").strip():
        ignored.append("url")
    is_outpainting = values.get("fit") == OUTPAINTING
    is_larger = is_enlarging(values, generate)
    if mask is None and not is_outpainting and not is_larger:
        inpaint_request, notes = with_background(image, size, paint_settings, values, request)
        if sent.get("fit", {}) not in ({}, "bounds", {"canvas": BLUR}):
            ignored.append("fit")
    elif is_outpainting or size is None:
        outpaint = Outpaint(size=str(size)) if is_outpainting else None
        inpaint_request, notes = build_service_request(
            image, mask, paint_settings, outpaint=outpaint, may_be_unchanged=mask is None
        )
    else:
        fitted = image.image.size.within(size)
        if fitted != size and sent.get("fit") != "bounds":
            ignored.append("fit" if "fit" in sent else "width" if fitted.width != size.width else "height")
        if is_larger:
            larger = Upscale(width=fitted.width, height=fitted.height)
            inpaint_request, notes = enlarging_request(image.image, larger, paint_settings), ()
        else:
            inpaint_request, notes = build_scaled_request(image, mask, paint_settings, fitted)
    for_webhook = {"origin": origin_of(request), "key": ending_key(request), "request": echo(sent, DeepImageForm)}
    return (
        inpaint_request,
        Submission(
            source_name=source.name,
            warnings=(*notes, *described),
            sent_fields=tuple(names_of(sent, DeepImageForm)),
            webhook_url=webhook_url,
            ignored_fields=tuple(ignored[:MAX_IGNORED_FIELDS]),
            service_data=for_webhook if webhook_url else {},
            catalog=catalog,
        ),
    )


def add_description(
    requested: PaintSettings, image: CanonicalImage, values: Mapping[str, Any], catalog: Catalog, user: Any
) -> tuple[PaintSettings, list[str]]:
    """Let outpainting without a prompt begin from a description of the image, as the service does; say whose it is.

    Only where a diffusion model is installed: no other engine reads a prompt. Where the captioning model fails, its
    colours are named, as without such a model. Raises LimitReached.
    """
    if requested.prompt or values.get("fit") != OUTPAINTING or not (DIFFUSION.is_installed and catalog.has_installed()):
        return requested, []
    notes, captioner = [], find_captioner(catalog)
    with limit_segmentations(user):
        try:
            caption = describe_in_worker(image, user, service=NAME) if captioner else describe_colours(image)
        except (EngineFailed, Busy) as error:
            caption = describe_colours(image)
            notes.append(f"The image was described by its colours alone: {api_error(error).message}")
    note = f"No description was sent; the prompt is “{caption.text}”, by {caption.captioner}."
    return replace(requested, prompt=caption.text), [*notes, note]


def image_text(field: str, text: str) -> SentImage:
    """Return a URL, a data URL, base64, or base64 after `base64,`. Raises InvalidRequest for the service's own
    storage."""
    text = text.strip()
    if text[:10].lower() == "storage://":
        raise InvalidRequest("There is no storage here: send a URL, base64 or a file.", code="url_invalid", field=field)
    return SentImage(field, text.removeprefix("base64,"))


def is_enlarging(values: Mapping[str, Any], generate: Mapping[str, Any]) -> bool:
    """Whether the fields request a larger image alone: a size, and neither a canvas nor another background."""
    background = values.get("background", {})
    return (
        ("width" in values or "height" in values)
        and not values.get("fit")
        and not background.get("remove")
        and (not generate or generate.get("adapter_type") == UPSCALE)
    )


def check_task(values: Mapping[str, Any], generate: Mapping[str, Any]) -> None:
    """Raise InvalidRequest unless the fields request one of the tasks that are available, with what it needs."""
    has_canvas, is_inpainting = bool(values.get("fit")), generate.get("adapter_type") == INPAINTING
    removes = bool(values.get("background", {}).get("remove")) and not generate
    if not has_canvas and not is_inpainting and not removes and not is_enlarging(values, generate):
        raise InvalidRequest(
            "Only inpainting (background.generate.adapter_type “inpainting” with ip_image2), outpainting (width, "
            "height and fit.canvas “outpainting”), a blurred canvas (“blur” in its place), background.remove and "
            "enlarging (width or height alone) are available.",
            field="background",
        )
    if is_inpainting and not generate.get("ip_image2"):
        raise InvalidRequest("Inpainting needs a mask: background.generate.ip_image2.", field="ip_image2")
    if has_canvas and not ("width" in values and "height" in values):
        raise InvalidRequest("Outpainting and a blurred canvas need width and height.", field="width")


def requested_size(values: Mapping[str, Any], image: CanonicalImage) -> Size | None:
    """Return width and height as requested; one alone keeps the source's ratio; None: the source's size.

    Raises InvalidRequest above the limits of images.
    """
    source = {"width": image.size.width, "height": image.size.height}
    sides = {name: values[name].pixels(own) for name, own in source.items() if name in values}
    if not sides:
        return None
    scale = min(Fraction(sides[name], source[name]) for name in sides)
    size = Size(**{name: sides.get(name, max(1, round(own * scale))) for name, own in source.items()})
    limits = image_limits()
    max_pixels = limits.max_pixels if image.bits == 8 else limits.max_pixels_16_bit
    if size.longer > limits.max_side or size.area > max_pixels:
        side = limits.max_side if size.longer > limits.max_side else math.isqrt(max_pixels)
        raise InvalidRequest(f"Image cannot be upscaled above {side} x {side} pixels limit.", field="width", limit=side)
    return size


def settings_of(
    values: Mapping[str, Any], generate: Mapping[str, Any], source_format: str, catalog: Catalog
) -> PaintSettings:
    """Return the settings of validated values.

    source_format: the format of the source's file, the default for the result.
    """
    texts = (generate.get("description"), generate.get("additional_prompt"))
    quality = values.get("quality", values.get("output_quality"))
    own_format = source_format.lower() if source_format in ("JPEG", "WEBP") else PNG
    strength = DEFAULT_STRENGTH if values.get("fit") == OUTPAINTING else 1.0  # Outpainting starts from a filled border.
    requested = PaintSettings(
        prompt=", ".join(text for text in texts if text),
        negative_prompt=generate.get("negative_prompt", ""),
        seed=generate.get("sample_num", 0),
        strength=strength,
        output_format=values.get("output_format", own_format),
        quality=None if quality is None else max(1, quality),
        max_file_kilobytes=values.get("max_file_size"),
    )
    scale = generate.get("controlnet_conditioning_scale")
    control = None if scale is None else inpaint_controlnet(requested, catalog)
    return requested if control is None else replace(requested, control=control, control_strength=scale)


def inpaint_controlnet(requested: PaintSettings, catalog: Catalog) -> str | None:
    """Return the first installed ControlNet for inpainting with the model that will paint; None if there is none."""
    if not catalog.has_installed() or planner(catalog).choose(requested=requested).engine is not DIFFUSION:
        return None
    return catalog.first_controlnet(None, ControlImageKind.INPAINT)


def fields_without_use(values: Mapping[str, Any], paint_settings: PaintSettings) -> Iterator[str]:
    """Yield names of the fields that the form has and that this request has no use for."""
    generate = values.get("background", {}).get("generate", {})
    if "ip_image2" in generate and generate.get("adapter_type") != INPAINTING:
        yield "background.generate.ip_image2"
    if "controlnet_conditioning_scale" in generate and paint_settings.control is None:
        yield "background.generate.controlnet_conditioning_scale"
    if "output_quality" in values and "quality" in values:
        yield "output_quality"
    background = values.get("background", {})
    paints = values.get("fit") == OUTPAINTING or generate.get("adapter_type") == INPAINTING
    if background.get("remove") and paints:
        yield "background.remove"
    if "adapter_type" in generate and not paints and not is_enlarging(values, generate):
        yield "background.generate.adapter_type"
    if background.get("color") and (paints or not background.get("remove")):
        yield "background.color"
