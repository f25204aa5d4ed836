"""Deep-Image's API: inpainting and outpainting (https://documentation.deep-image.ai).

Errors are `{"message"[, "code", "detail"]}`; those of generations `{"message", "status": "failed", "job"}`. A job, or
hash, is the primary key of a generation.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, cast
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from rest_framework import serializers
from rest_framework.request import Request

from accounts.authentication import key_from_headers
from accounts.models import ApiKey, Scope, User
from inpainting import webhooks
from inpainting.accounting.limits import RATE, WAITING, LimitReached, spent
from inpainting.api.compat.base import Dialect, Options, json_response, origin_of
from inpainting.api.compat.idempotency import read_idempotency
from inpainting.api.errors import ApiError, ended_without_result
from inpainting.api.media.links import ending_key, result_link
from inpainting.api.parsers import JSON_VALUES, json_object
from inpainting.api.pictures import PictureRole, SentPicture, read_picture
from inpainting.api.setting_fields import Integer, Number, Text, build_field
from inpainting.api.views import InpaintView, KeyedView
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import Control, Kind
from inpainting.core.codecs.formats import EXTENSIONS, PNG
from inpainting.core.codecs.intake import DEFAULT_LIMITS
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.inputs import build_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.outpainting import Outpaint
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.resizing import resize
from inpainting.core.settings_table import RANGES, by_name
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.generations import history
from inpainting.generations.delete import delete_and_record, was_deleted
from inpainting.generations.description import all_warnings
from inpainting.models import Generation, Status, UserLimits
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS
from inpainting.planning import planner

ANSWER_SECONDS = 25.0
"""`process_result` responds within this time, as documented; then clients poll."""
UNLIMITED_CREDITS = 1_000_000
"""The `credits` of a user without a limit per day."""
MAX_ECHOED_CHARACTERS, MAX_ECHOED_FIELDS = 2_000, 50
"""Of a request in its webhook: of each value, and in each object."""
MAX_IGNORED_FIELDS = 50
INPAINTING = "inpainting"
FOR_OUTPAINTING = ("generate_background", "upscale", INPAINTING)
"""Adapter types with which outpainting is requested; the first one is the documented default."""
SOURCE = PictureRole(code_prefix="image", error_prefix="Invalid image")
MASK = PictureRole(code_prefix="mask", error_prefix="Invalid mask")
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
UNIDENTIFIED = re.compile("(image|mask)_(type_unsupported|damaged|base64_invalid)|image_empty")
"""The error codes of files that are no readable pictures."""


@dataclass(frozen=True, slots=True)
class Side:
    """A side of the result: pixels, or a percentage of the source's."""

    number: Fraction
    is_percentage: bool

    def pixels(self, source: int) -> int:
        return max(1, round(self.number * source / 100 if self.is_percentage else self.number))


class SideField(serializers.Field):
    """`1024`, `"1024"` or `"200%"`."""

    def to_internal_value(self, data: Any) -> Side:
        found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(%?)", "" if data is True else str(data).strip())
        if found is None or not float(found[1]):
            raise InvalidRequest(
                f"{self.field_name} must be a number of pixels or a percentage such as “200%”.",
                field=self.field_name,
            )
        return Side(Fraction(found[1]), bool(found[2]))


class FitField(serializers.Field):
    """Whether outpainting is requested, by `{"canvas": "outpainting"}`; the other documented values scale."""

    SCALING: ClassVar = (
        {},
        "canvas",
        "crop",
        "bounds",
        "cover",
        *({"crop": at} for at in ("item", "content", "center")),
    )

    def to_internal_value(self, data: Any) -> bool:
        if data == {"canvas": "outpainting"}:
            return True
        if data not in self.SCALING:
            raise InvalidRequest("fit has a value that is not documented.", field="fit")
        return False


class KilobytesField(serializers.Field):
    """`500000` bytes, or `"1MB"`, in kilobytes of 1000 bytes."""

    def to_internal_value(self, data: Any) -> int:
        found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)\s*([kmg]?b|)", str(data).strip().lower())
        kilobytes = int(Fraction(found[1]) * BYTES[found[2]] / 1000) if found else 0
        if kilobytes < 1:
            raise InvalidRequest(
                f"{self.field_name} must be at least 1000 bytes, as a number or a size such as “1MB”.",
                field=self.field_name,
            )
        return min(kilobytes, int(RANGES["max_file_kilobytes"][1]))


class GenerateForm(serializers.Serializer):
    adapter_type = serializers.ChoiceField(
        FOR_OUTPAINTING,
        required=False,
        error_messages={"invalid_choice": "adapter_type {input} is not available; inpainting and outpainting are."},
    )
    ip_image2 = Text(required=False)
    description = build_field(by_name("prompt"))
    additional_prompt = build_field(by_name("prompt"))
    negative_prompt = build_field(by_name("negative_prompt"))
    sample_num = build_field(by_name("seed"))
    controlnet_conditioning_scale = Number(required=False, min_value=0.0, max_value=1.0)


class BackgroundForm(serializers.Serializer):
    generate = GenerateForm(required=False)


class WebhooksForm(serializers.Serializer):
    complete = Text(required=False, allow_blank=True, max_length=MAX_URL_CHARACTERS)


class RequestForm(serializers.Serializer):
    """The fields that have an effect; all others are accepted and listed as ignored."""

    url = Text(required=False, allow_blank=True)
    width = SideField(required=False)
    height = SideField(required=False)
    fit = FitField(required=False)
    background = BackgroundForm(required=False)
    output_format = build_field(by_name("output_format"))
    quality = Integer(required=False, min_value=0, max_value=100)
    output_quality = Integer(required=False, min_value=0, max_value=100, help_text="Sent by some clients.")
    max_file_size = KilobytesField(required=False)
    webhooks = WebhooksForm(required=False)


class Process(InpaintView, KeyedView):
    patience_seconds: ClassVar[float] = 0.0
    """The longest time until the response, also where reading the request took a part of it."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.deadline = time.monotonic() + self.patience_seconds
        super().initial(request, *args, **kwargs)


class Result(KeyedView):
    """A generation of the caller: `GET` and `DELETE`."""

    required_scope = {"GET": Scope.READ, "DELETE": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed

    def get(self, request: Request, job: str) -> HttpResponseBase:
        pk = uuid_of(job)
        if pk is not None and was_deleted(request.user, pk):
            return json_response({"message": "Image deleted", "status": "complete"}, status=404)
        generation = pk and history.find(request.user, pk)
        return DIALECT.render(generation, request) if generation else job_not_found()

    def delete(self, request: Request, job: str) -> HttpResponseBase:
        pk = uuid_of(job)
        generation = pk and history.find(request.user, pk)
        if not generation:
            return job_not_found()
        delete_and_record(generation)
        return json_response({"message": "Image deleted", "status": "complete", "job": str(pk)})


class Me(KeyedView):
    """The caller's account. Its key is not echoed: only the prefix, by which the pages list it."""

    required_scope = Scope.READ

    def get(self, request: Request) -> HttpResponseBase:
        user, key = cast(User, request.user), cast(ApiKey, request.auth)
        limits = UserLimits.for_user(user)
        per_day = None if limits is None else limits.per_day
        return json_response(
            {
                "username": user.email,
                "email": user.email,
                "credits": UNLIMITED_CREDITS if per_day is None else max(0, per_day - spent(user)["per_day"]),
                "api_key": f"{key.prefix}…",
                "language": settings.LANGUAGE_CODE[:2],
                "webhooks": {},
                "billing_address": {},
            }
        )


class DeepImage(Dialect):
    """`/rest_api/`."""

    name: ClassVar[str] = "deep-image"
    prefixes: ClassVar[tuple[str, ...]] = ("/rest_api/",)
    answers_before_the_end = True
    settings_by_field: ClassVar[Mapping[str, str]] = {
        "background.generate.description": "prompt",
        "background.generate.negative_prompt": "negative_prompt",
        "background.generate.sample_num": "seed",
        "quality": "quality",
        "max_file_size": "max_file_kilobytes",
    }

    @property
    def urls(self) -> Sequence[URLPattern]:
        return [
            re_path(r"^rest_api/process_result/?$", Process.as_view(patience_seconds=ANSWER_SECONDS)),
            re_path(r"^rest_api/process/?$", Process.as_view()),
            re_path(r"^rest_api/result/(?P<job>[^/]+)/?$", Result.as_view()),
            re_path(r"^rest_api/me/?$", Me.as_view()),
        ]

    def read_api_key(self, request: Request) -> str | None:
        return key_from_headers(request)

    def parse(self, request: Request) -> tuple[InpaintRequest, Options]:
        idempotency = read_idempotency(request)
        data: Any = request.data
        fields = {name: value for name, value in data.items() if name not in request.FILES}
        inpaint_request, options = read(parameters_of(fields), source_file(request), request)
        return inpaint_request, replace(options, idempotency=idempotency)

    def max_wait_seconds(self, request: Request) -> float | None:
        deadline: float = request.parser_context["view"].deadline
        return max(0.0, deadline - time.monotonic())

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        if not generation.has_ended:
            # Not `received` or `not_started`: the documented client stops polling at both.
            return json_response({"status": "in_progress", "job": str(generation.pk)})
        if generation.status != Status.SUCCEEDED:
            return self.render_error(ended_without_result(generation))
        url = result_url(generation, origin=origin_of(request), key=ending_key(request))
        body = {"status": "complete", "result_url": url, "job": str(generation.pk), "meta": self.meta(generation)}
        return json_response(body, headers=self.meta_headers(generation))

    def meta(self, generation: Generation) -> dict[str, Any]:
        return {**super().meta(generation), "warnings": all_warnings(generation)}

    def webhook_body(self, generation: Generation) -> dict[str, Any] | None:
        """None for a failure, for which no webhook is documented."""
        if generation.status != Status.SUCCEEDED:
            return None
        sent = generation.service_data
        url = result_url(generation, origin=sent["origin"], key=sent["key"])
        return {"job": str(generation.pk), "data": sent["request"], "result_url": url, "results": None}

    def render_error(self, error: ApiError) -> HttpResponse:
        status, body = error_body(error)
        return json_response(body, status=status, headers=error.headers)


DIALECT = DeepImage()


# Reading a request


def parameters_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request without empty ones. Forms, and some clients in JSON, send them as one JSON text."""
    fields = dict(fields)
    text = fields.pop("parameters", {})
    try:
        if isinstance(text, str):
            JSON_VALUES.count(text.encode())
            text = json_object(text)
    except ValueError as error:
        raise InvalidRequest(f"parameters cannot be read as JSON: {error}", field="parameters") from error
    if not isinstance(text, dict):
        raise InvalidRequest("parameters must be a JSON object.", field="parameters")
    return without_nulls({**fields, **text})


def without_nulls(fields: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """depth: of the objects that are read; a request may be nested much deeper."""
    return {
        name: without_nulls(value, depth - 1) if isinstance(value, dict) and depth > 1 else value
        for name, value in fields.items()
        if value is not None
    }


def source_file(request: Request) -> SentPicture | None:
    names = (name for name in ("image", "fileName") if name in request.FILES)
    return next((SentPicture(name, request.FILES[name]) for name in names), None)


def read(sent: dict[str, Any], file: SentPicture | None, request: Request) -> tuple[InpaintRequest, Options]:
    """Read and check the fields, then the pictures. Raises InvalidRequest and DRF's ValidationError."""
    form, catalog = RequestForm(data=sent), Catalog()
    form.is_valid(raise_exception=True)
    values = form.validated_data
    generate = values.get("background", {}).get("generate", {})
    source = file or (picture_text("url", values["url"]) if values.get("url") else None)
    if source is None:
        raise InvalidRequest("File or image url is required", code="source_missing", field="url")
    check_task(values, generate)
    webhook_url = values.get("webhooks", {}).get("complete", "")
    if webhook_url:
        webhooks.check_url(webhook_url, field="webhooks.complete")
    image, mask = read_picture(source, SOURCE, request), None
    if generate.get("adapter_type") == INPAINTING:
        mask = read_picture(picture_text("ip_image2", generate["ip_image2"]), MASK, request)
    paint_settings = settings_of(values, generate, image.format, catalog)
    size = requested_size(values, image.picture)
    ignored = [*unread(sent, form), *unused(generate, paint_settings)]
    outpaint = Outpaint(size=str(size)) if values.get("fit") else None
    if outpaint is None and size is not None:
        fitted = fit_within(image.picture.size, size)
        image = replace(image, picture=resize(image.picture, fitted))
        ignored += [] if fitted == size else ["fit"]
    inpaint_request, notes = build_request(image, mask, paint_settings, MaskPolarity.WHITE_REPAINTS, outpaint=outpaint)
    for_webhook = {"origin": origin_of(request), "key": ending_key(request), "request": echo(sent)}
    return (
        inpaint_request,
        Options(
            source_name=source.name,
            warnings=notes,
            needs_diffusion=bool(inpaint_request.mask.all()),  # The other engines paint from what is kept.
            webhook_url=webhook_url,
            ignored_fields=tuple(ignored[:MAX_IGNORED_FIELDS]),
            service_data=for_webhook if webhook_url else {},
            catalog=catalog,
        ),
    )


def picture_text(field: str, text: str) -> SentPicture:
    """A URL, a data URL, base64, or base64 after `base64,`. Raises InvalidRequest for the service's own storage."""
    if text.strip().lower().startswith("storage://"):
        raise InvalidRequest("There is no storage here: send a URL, base64 or a file.", code="url_invalid", field=field)
    return SentPicture(field, text.strip().removeprefix("base64,"))


def check_task(values: Mapping[str, Any], generate: Mapping[str, Any]) -> None:
    """Raise InvalidRequest unless the fields request inpainting or outpainting, with what either needs."""
    is_outpainting, is_inpainting = values.get("fit", False), generate.get("adapter_type") == INPAINTING
    if not is_outpainting and not is_inpainting:
        raise InvalidRequest(
            "Only inpainting (background.generate.adapter_type “inpainting” with ip_image2) and outpainting (width, "
            "height and fit.canvas “outpainting”) are available.",
            field="background",
        )
    if is_inpainting and not generate.get("ip_image2"):
        raise InvalidRequest("Inpainting needs a mask: background.generate.ip_image2.", field="ip_image2")
    if is_outpainting and not ("width" in values and "height" in values):
        raise InvalidRequest("Outpainting needs width and height.", field="width")


def requested_size(values: Mapping[str, Any], image: Picture) -> Size | None:
    """Width and height as requested; one alone keeps the source's ratio; None: the source's size.

    Raises InvalidRequest above the limits of images.
    """
    source = {"width": image.size.width, "height": image.size.height}
    sides = {name: values[name].pixels(own) for name, own in source.items() if name in values}
    if not sides:
        return None
    scale = min(Fraction(sides[name], source[name]) for name in sides)
    size = Size(**{name: sides.get(name, max(1, round(own * scale))) for name, own in source.items()})
    max_pixels = DEFAULT_LIMITS.max_pixels if image.bits == 8 else DEFAULT_LIMITS.max_pixels_16_bit
    if size.longer > DEFAULT_LIMITS.max_side or size.area > max_pixels:
        side = DEFAULT_LIMITS.max_side if size.longer > DEFAULT_LIMITS.max_side else math.isqrt(max_pixels)
        raise InvalidRequest(f"Image cannot be upscaled above {side} x {side} pixels limit.", field="width", limit=side)
    return size


def fit_within(source: Size, bounds: Size) -> Size:
    """The largest size of the source's ratio within the bounds."""
    scale = min(Fraction(bounds.width, source.width), Fraction(bounds.height, source.height))
    return Size(max(1, round(source.width * scale)), max(1, round(source.height * scale)))


def settings_of(
    values: Mapping[str, Any], generate: Mapping[str, Any], source_format: str, catalog: Catalog
) -> PaintSettings:
    """source_format: of the source's file, the default for the result."""
    texts = (generate.get("description"), generate.get("additional_prompt"))
    quality = values.get("quality", values.get("output_quality"))
    own_format = source_format.lower() if source_format in ("JPEG", "WEBP") else PNG
    strength = PaintSettings().strength if values.get("fit") else 1.0  # Outpainting starts from a filled border.
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
    """The first installed ControlNet for inpainting with the model that will paint; None if there is none."""
    model = catalog.default()
    if model is None or planner(catalog).choose(requested=requested).engine is not DIFFUSION:
        return None
    compatible = (row for row in catalog.adapters if row.kind == Kind.CONTROLNET and row.family == model.family)
    return next((row.slug for row in compatible if row.control == Control.INPAINT), None)


def unread(sent: Mapping[str, Any], form: serializers.Serializer, prefix: str = "") -> Iterator[str]:
    """Names of the fields with a value that the form does not have; of odd names only a placeholder."""
    for name, value in sent.items():
        field = form.fields.get(name)
        if isinstance(field, serializers.Serializer):
            yield from unread(value, field, f"{prefix}{name}.")
        elif field is None and value not in (False, "", [], {}):
            yield f"{prefix}{name}" if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else f"{prefix}(another name)"


def unused(generate: Mapping[str, Any], paint_settings: PaintSettings) -> Iterator[str]:
    """Names of the fields that the form has and that this request has no use for."""
    if "ip_image2" in generate and generate.get("adapter_type") != INPAINTING:
        yield "background.generate.ip_image2"
    if "controlnet_conditioning_scale" in generate and paint_settings.control is None:
        yield "background.generate.controlnet_conditioning_scale"


def echo(fields: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """The fields for the webhook: long texts, such as pictures in base64, are cut, other long values left out."""
    echoed: dict[str, Any] = {}
    for name, value in [item for item in fields.items() if is_short(item[0])][:MAX_ECHOED_FIELDS]:
        if isinstance(value, dict) and depth > 1:
            echoed[name] = echo(value, depth - 1)
        elif isinstance(value, str) and not is_short(value):
            echoed[name] = f"{value[:40]}…"
        elif isinstance(value, list):
            echoed[name] = [entry for entry in value[:MAX_ECHOED_FIELDS] if is_short(entry)]
        elif is_short(value):
            echoed[name] = value
    return echoed


def is_short(value: object) -> bool:
    return isinstance(value, int | float | str) and len(str(value)) <= MAX_ECHOED_CHARACTERS


# Responses


def uuid_of(job: str) -> UUID | None:
    try:
        return UUID(job)
    except ValueError:
        return None


def job_not_found() -> HttpResponse:
    return json_response({"message": "Job not found"}, status=404)


def result_url(generation: Generation, *, origin: str, key: int | None) -> str:
    """A link that needs no key and expires; clients take the file name from its end. key: see `ending_key`."""
    extension = EXTENSIONS[generation.settings.get("output_format", PNG)]
    folder = f"images/{generation.created_at:%Y-%m-%d}"
    return result_link(folder, f"{generation.pk}.{extension}", generation, origin=origin, key=key)


def error_body(error: ApiError) -> tuple[int, dict[str, Any]]:
    """Status and body of an error, with the documented texts where there are any."""
    if error.generation_id is not None:
        return 500, {"message": error.message, "status": "failed", "job": str(error.generation_id)}
    if error.code == "key_missing":
        return 403, {"message": "No x-api-key header is provided"}
    if error.status == 401:
        return 404, {"message": "No user found for provided token"}
    if error.code == "source_missing":
        return 400, {"message": error.message}
    if isinstance(error.cause, LimitReached):
        return limit_body(error)
    code = "BAD_REQUEST" if error.status == 400 else error.code.upper()
    documented = ""
    if error.code.startswith("url_") and error.field in ("url", "ip_image2"):
        documented = "Make sure your source url/storage is correct."
    elif UNIDENTIFIED.fullmatch(error.code):
        documented = "Unidentified image"
    if documented:
        return error.status, {"message": documented, "code": code, "detail": error.message}
    return error.status, {"message": error.message, "code": code}


def limit_body(error: ApiError) -> tuple[int, dict[str, Any]]:
    """429 for limits of a moment, 400 for those of a day and of storage."""
    if error.code == RATE or getattr(error.cause, "what", "") == WAITING:
        message = (
            f"Image cannot be processed right now. Your rate limit is {error.limit} and you are currently processing "
            f"{error.actual} images."
        )
        return 429, {"message": message, "code": "TOO_MANY_REQUESTS", "detail": error.message}
    message = "You dont have enough credits to perform those actions"
    return 400, {"message": message, "code": "NOT_ENOUGH_CREDITS", "detail": error.message}
