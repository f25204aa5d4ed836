"""ModelsLab's image API v6 (https://docs.modelslab.com): inpainting, fetching results, and uploading pictures."""

from __future__ import annotations

import base64
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, TypeVar

from django.conf import settings as site
from django.db.models import Q
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.authentication import key_from_headers
from accounts.models import Scope
from inpainting import webhooks
from inpainting.api.compat.base import Dialect, Options, json_response, origin_of
from inpainting.api.compat.idempotency import read_idempotency
from inpainting.api.errors import NOT_FOUND, ApiError, ended_without_result
from inpainting.api.media.links import ending_key, picture_link, result_link
from inpainting.api.parsers import AnyTypeJsonParser, body_of
from inpainting.api.pictures import URL, PictureRole, SentPicture, read_picture
from inpainting.api.setting_fields import Integer, Number, Seed, Text
from inpainting.api.views import InpaintView, KeyedView
from inpainting.catalog import families
from inpainting.catalog.families import ModelFamily
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import Kind
from inpainting.core import masks
from inpainting.core.codecs import DecodedPicture
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.inputs import build_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, LoraUse, PaintSettings
from inpainting.core.resizing import resize
from inpainting.core.settings_table import (
    ALGORITHM_SPELLINGS,
    ALGORITHM_TYPES,
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    SAFETY_TYPES,
    SCHEDULERS,
    by_name,
)
from inpainting.core.validation import check_range, check_text
from inpainting.generations import history
from inpainting.generations.description import all_warnings, nsfw_content_detected
from inpainting.generations.uploads import store_upload
from inpainting.models import GeneratedImage, Generation, Status
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS
from inpainting.worker.run_time_estimates import queue_position, remaining_seconds

T = TypeVar("T")
MAX_STEPS, DEFAULT_STEPS = 20, 31
"""As published: the default exceeds the maximum, so that a request without steps has MAX_STEPS."""
RANGES: Mapping[str, tuple[float, float]] = {
    "width": (256, 1024),
    "height": (256, 1024),
    "samples": (1, 4),
    "num_inference_steps": (1, math.inf),
    "guidance_scale": (1, 20),
    "strength": (0, 1),
    "clip_skip": (1, 8),
    "lora_strength": (0.1, 1),
    "ip_adapter_scale": (0, 1),
}
IP_ADAPTERS = (
    *("ip-adapter_sdxl", "ip-adapter_sd15", "ip-adapter-plus-face_sd15"),
    *("ip-adapter-plus_sdxl_vit-h", "ip-adapter-plus-face_sdxl_vit-h"),
)
ENHANCEMENTS = ("highly detailed", "sharp focus", "natural lighting", "high quality")
"""What `enhance_prompt` adds to a prompt."""
RETURNED_FIELDS = ("model_id", "track_id", "clip_skip", "enhance_prompt", "base64", "temp")
"""Fields that later responses contain or depend on."""
TEMPORARY = timedelta(hours=24)
UPLOAD = PictureRole(code_prefix="image", error_prefix="Invalid picture", max_bytes=5 * 2**20)
UNKNOWN_ETA_SECONDS = 10
FIELD_NAME = re.compile(r"[A-Za-z]\w{0,39}", re.ASCII)
MAX_LISTED_FIELDS = 20
MAX_TRACK_ID_CHARACTERS = 255
MESSAGES = {
    "key_missing": "API key required",
    "key_invalid": "Invalid API key",
    "key_revoked": "Invalid API key",
    "key_expired": "Invalid API key",
    "body_invalid": "Invalid API Request",
}
"""Error code -> the service's message for it."""


class PictureText(serializers.Field):
    """A URL, base64 or a data URL. CharField would examine each of its millions of characters."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "It must be a URL or base64."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class TrackId(serializers.Field):
    """A text or a number, which is returned as it was sent."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "It must be a text or a number."}

    def to_internal_value(self, data: Any) -> str | int | float:
        if isinstance(data, bool) or not isinstance(data, str | int | float) or data in (math.inf, -math.inf):
            self.fail("invalid")
        check_text("track_id", str(data), MAX_TRACK_ID_CHARACTERS)
        return data


def number(name: str, kind: type[Integer] | type[Number] = Number, **options: Any) -> serializers.Field:
    low, high = RANGES[name]
    limits: dict[str, Any] = {"min_value": low, "max_value": None if high == math.inf else high}
    return kind(required=False, **limits, **options)


def choice(choices: Sequence[str]) -> serializers.ChoiceField:
    messages: dict[str, Any] = {"invalid_choice": f"It must be one of {', '.join(choices)}."}
    return serializers.ChoiceField(choices, required=False, error_messages=messages)


class InpaintForm(serializers.Serializer):
    """The fields of a request, after those that were sent empty or as null are dropped.

    Numbers and booleans may be texts: `"512"`, `"yes"`.
    """

    model_id = serializers.CharField(max_length=200)
    init_image = PictureText()
    mask_image = PictureText()
    prompt = Text(default="", max_length=MAX_PROMPT_CHARACTERS, trim_whitespace=False)
    negative_prompt = Text(default="", max_length=MAX_PROMPT_CHARACTERS, trim_whitespace=False)
    enhance_prompt = serializers.BooleanField(default=True)
    width = number("width", Integer, default=512)
    height = number("height", Integer, default=512)
    samples = number("samples", Integer, default=1)
    num_inference_steps = number("num_inference_steps", Integer, default=DEFAULT_STEPS)
    safety_checker = serializers.BooleanField(required=False)
    safety_checker_type = choice(SAFETY_TYPES)
    seed = Seed(max_value=MAX_SEED, default=0)
    guidance_scale = number("guidance_scale", default=7.5)
    strength = number("strength", default=by_name("strength").default)
    scheduler = choice(SCHEDULERS)
    use_karras_sigmas = serializers.BooleanField(default=True)
    algorithm_type = choice((*ALGORITHM_TYPES, *ALGORITHM_SPELLINGS))
    clip_skip = number("clip_skip", Integer, default=2)
    vae = serializers.CharField(required=False, max_length=500)
    lora_model = serializers.CharField(required=False, max_length=1000)
    lora_strength = serializers.CharField(required=False, max_length=500)
    ip_adapter_id = choice(IP_ADAPTERS)
    ip_adapter_scale = number("ip_adapter_scale")
    ip_adapter_image = PictureText(required=False)
    base64 = serializers.BooleanField(default=False)
    temp = serializers.BooleanField(default=False)
    webhook = serializers.CharField(required=False, max_length=MAX_URL_CHARACTERS)
    track_id = TrackId(required=False)


class ModelsLab(Dialect):
    """`/api/v6/`. Errors are `{"status": "error", "message", "messege", "code"}`."""

    name: ClassVar[str] = "modelslab"
    prefixes: ClassVar[tuple[str, ...]] = ("/api/v6/",)
    answers_before_the_end = True
    settings_by_field: ClassVar[Mapping[str, str]] = {
        "model_id": "model",
        "enhance_prompt": "prompt",
        "num_inference_steps": "steps",
        **dict.fromkeys(("lora_model", "lora_strength"), "loras"),
        **dict.fromkeys(("ip_adapter_id", "ip_adapter_image"), "ip_adapter"),
        **{
            name: name
            for name in (
                *("prompt", "negative_prompt", "seed", "guidance_scale", "strength", "scheduler", "use_karras_sigmas"),
                *("algorithm_type", "clip_skip", "vae", "ip_adapter_scale", "safety_checker_type"),
            )
        },
    }

    @property
    def urls(self) -> Sequence[URLPattern]:
        inpaint, fetch, upload = (
            view.as_view(parser_classes=(AnyTypeJsonParser,)) for view in (Inpaint, Fetch, Upload)
        )
        routes = [
            *(("images/inpaint", inpaint), ("images/fetch", fetch), ("images/fetch/<str:number>", fetch)),
            *(("base64_to_url", upload), ("image_editing/base64_to_url", upload)),
        ]
        name = {"images/fetch/<str:number>": "modelslab-fetch"}
        plain = [path(f"api/v6/{route}", view, name=name.get(route)) for route, view in routes]
        return [*plain, *(path(f"api/v6/{route}/", view) for route, view in routes)]

    def read_api_key(self, request: Request) -> str | None:
        """Of the body, else of a header: `Authorization: Bearer`, `X-API-Key` or `key`."""
        in_body = body_of(request).get("key")
        return str(in_body) if in_body else key_from_headers(request) or request.headers.get("key")

    def parse(self, request: Request) -> tuple[InpaintRequest, Options]:
        sent = {name: value for name, value in body_of(request).items() if name != "key" and value not in (None, "")}
        idempotency = read_idempotency(request, api_key_field="key")
        if "num_inference_steps" not in sent and "steps" in sent:
            sent["num_inference_steps"] = sent["steps"]
        form = InpaintForm(data=sent)
        form.is_valid(raise_exception=True)
        catalog, reading = Catalog(), Reading(form.validated_data, sent)
        settings = reading.settings(catalog)
        if "webhook" in reading.values:
            webhooks.check_url(reading.values["webhook"], field="webhook")
        inpaint_request, notes = reading.pictures(settings, request)
        values = reading.values
        return inpaint_request, Options(
            warnings=(*reading.warnings, *notes),
            webhook_url=values.get("webhook", ""),
            expires_at=timezone.now() + TEMPORARY if values["temp"] else None,
            ignored_fields=tuple(reading.ignored),
            service_data={
                "origin": origin_of(request),
                "ending_key": ending_key(request),
                "sent": [name for name in self.settings_by_field if name in sent],
                **{name: values.get(name) for name in RETURNED_FIELDS},
            },
            idempotency=idempotency,
            catalog=catalog,
        )

    def max_wait_seconds(self, request: Request) -> float | None:
        deadline: float = request.parser_context["view"].deadline
        return max(0.0, deadline - time.monotonic())

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        if not generation.has_ended:
            return json_response(self.processing(generation))
        if generation.status != Status.SUCCEEDED:
            return self.render_error(ended_without_result(generation))
        return json_response(self.success(generation), headers=self.meta_headers(generation))

    def render_error(self, error: ApiError) -> HttpResponse:
        body: dict[str, Any] = error_body(error)
        if "Retry-After" in error.headers:
            body["retry_after"] = int(error.headers["Retry-After"])
        return json_response(body, status=error.status, headers=error.headers)

    def webhook_body(self, generation: Generation) -> Mapping[str, Any]:
        track_id = generation.service_data.get("track_id")
        if generation.status == Status.SUCCEEDED:
            return {**self.success(generation, inline=False), "track_id": track_id}
        message = ended_without_result(generation).message
        return {"status": "failed", "id": generation.number, "message": message, "track_id": track_id}

    def success(self, generation: Generation, *, inline: bool = True) -> dict[str, Any]:
        """inline: pictures as base64 where the request has `base64`."""
        links, images = links_of(generation), generation.images.all()
        return {
            "status": "success",
            "generationTime": round(generation.seconds or 0.0, 2),
            "id": generation.number,
            "output": [inline_picture(image) for image in images]
            if inline and generation.service_data["base64"]
            else links,
            "proxy_links": links,
            "nsfw_content_detected": any(nsfw_content_detected(generation) or ()),
            "webhook_status": "",
            "meta": self.meta(generation),
            "tip": "",
        }

    def processing(self, generation: Generation) -> dict[str, Any]:
        message = "Try to fetch request after seconds estimated"
        return {
            "status": "processing",
            "tip": "Send your key to fetch_result after eta seconds.",
            "tip_1": "",
            "eta": eta(generation),
            "message": message,
            "messege": message,
            "webhook_status": "",
            "fetch_result": generation.service_data["origin"] + reverse("modelslab-fetch", args=[generation.number]),
            "id": generation.number,
            "output": [],
            "meta": self.meta(generation),
            "future_links": links_of(generation),
        }

    def sent_fields(self, generation: Generation) -> Iterable[str]:
        fields: list[str] = generation.service_data["sent"]
        return fields

    def idle_fields(self, generation: Generation) -> list[str]:
        idle = super().idle_fields(generation)
        if "safety_checker_type" in self.sent_fields(generation) and not generation.settings["safety_checker_type"]:
            idle.append("safety_checker_type")  # The safety checker is off.
        return idle

    def meta(self, generation: Generation) -> dict[str, Any]:
        """What was painted. Booleans are texts, as the service's are."""
        settings, data = generation.settings, generation.service_data
        same = ("prompt", "negative_prompt", "guidance_scale", "strength", "seed", "scheduler", "vae")
        return {
            **super().meta(generation),
            **{name: settings[name] for name in same},
            "model_id": data["model_id"],
            "clip_skip": data["clip_skip"],
            "W": generation.source.width,
            "H": generation.source.height,
            "n_samples": settings["num_images"],
            "steps": settings["steps"],
            "lora_model": ",".join(use["slug"] for use in settings["loras"]) or None,
            "lora_strength": ",".join(str(use["weight"]) for use in settings["loras"]) or None,
            "ip_adapter_id": settings["ip_adapter"],
            "ip_adapter_scale": settings["ip_adapter_scale"],
            "safety_checker_type": settings["safety_checker_type"],
            "safety_checker": yes_or_no(settings["safety_checker"]),
            "use_karras_sigmas": yes_or_no(settings["use_karras_sigmas"]),
            **{name: yes_or_no(data[name]) for name in ("enhance_prompt", "base64", "temp")},
            "file_prefix": f"{generation.number:x}",
            "warnings": all_warnings(generation),
        }


DIALECT = ModelsLab()


class Inpaint(InpaintView, KeyedView):
    """`POST`: see InpaintView. The time for reading the request and fetching its pictures is part of the wait."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.deadline = time.monotonic() + site.MODELSLAB_WAIT_SECONDS
        super().initial(request, *args, **kwargs)


class Fetch(KeyedView):
    """`POST`: the result of a generation, named in the path or as `request_id`. Failed ones are answered with 200."""

    required_scope = Scope.READ

    def post(self, request: Request, number: str = "") -> HttpResponseBase:
        text = number or str(body_of(request).get("request_id", ""))
        kept = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        generation = None
        if re.fullmatch(r"[0-9]{1,16}", text):
            found = history.everything_of(request.user).filter(kept, number=int(text), service=DIALECT.name)
            generation = found.first()
        if generation is None:
            return DIALECT.render_error(replace(NOT_FOUND, message="Request not found"))
        history.refuse_removed(generation)
        if generation.status in (Status.FAILED, Status.CANCELLED):
            return json_response(
                {**error_body(ended_without_result(generation)), "id": generation.number, "output": []}
            )
        return DIALECT.render(generation, request)


class Upload(KeyedView):
    """`POST`: store a picture for a day. Its link may be sent as `init_image`, `mask_image` or `ip_adapter_image`."""

    takes_pictures = True

    def post(self, request: Request) -> HttpResponseBase:
        names = [name for name in ("base64_string", "init_image") if body_of(request).get(name)]
        if not names:
            raise InvalidRequest("base64_string is required", code="field_missing", field="base64_string")
        value = body_of(request)[names[0]]
        if not isinstance(value, str) or URL.match(value.strip()):
            raise InvalidRequest(f"{names[0]} must be base64", code="image_base64_invalid", field=names[0])
        decoded = read_picture(SentPicture(names[0], value), UPLOAD, request)
        uploaded = store_upload(request.user, decoded.picture, keep_for=TEMPORARY)
        name = f"{uploaded.pk.hex}.png"
        hours = int(TEMPORARY / timedelta(hours=1))
        link = picture_link(
            "generations", name, uploaded, origin=origin_of(request), key=ending_key(request), hours=hours
        )
        return json_response({"status": "success", "id": uploaded.pk.int >> 75, "output": [link]})  # below 2**53


class Reading:
    """The request of validated values: its settings and pictures, with warnings and ignored fields."""

    def __init__(self, values: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
        self.values, self.sent = values, sent
        known = {*InpaintForm().fields, "steps"}
        unknown = [name for name in sent if name not in known and FIELD_NAME.fullmatch(name)]
        self.ignored = unknown[:MAX_LISTED_FIELDS]
        self.warnings: list[str] = []

    def settings(self, catalog: Catalog) -> PaintSettings:
        """Raises InvalidRequest for a model, LoRA, VAE or IP-Adapter that is unknown or not installed."""
        values = self.values
        name = values["model_id"]
        slug = found("Model", name, "model_id", partial(catalog.closest_installed, name))
        self.ignored += ["model_id"] * (slug is None)
        row = catalog.default() if slug is None else catalog.find_row(slug)
        family = None if row is None else families.get(row.family)
        algorithm = values.get("algorithm_type")
        return PaintSettings(
            prompt=enhanced(values["prompt"]) if values["enhance_prompt"] else values["prompt"],
            negative_prompt=values["negative_prompt"],
            num_images=values["samples"],
            seed=values["seed"],
            steps=self.steps(),
            guidance_scale=values["guidance_scale"],
            strength=values["strength"],
            scheduler=self.scheduler(family),
            use_karras_sigmas=values["use_karras_sigmas"],
            algorithm_type=None if algorithm is None else ALGORITHM_SPELLINGS.get(algorithm, algorithm),
            clip_skip=values["clip_skip"] if family is None else family.clip_skip_of_layer(values["clip_skip"]),
            model=slug,
            loras=self.loras(catalog),
            vae=self.vae(catalog),
            safety_checker=values.get("safety_checker"),
            safety_checker_type=values.get("safety_checker_type"),
            **self.ip_adapter(catalog),
        )

    def steps(self) -> int:
        steps: int = self.values["num_inference_steps"]
        if steps > MAX_STEPS and "num_inference_steps" in self.sent:
            self.warnings.append(f"num_inference_steps was {steps}; {MAX_STEPS} was used.")
        return min(steps, MAX_STEPS)

    def scheduler(self, family: ModelFamily | None) -> str | None:
        name: str | None = self.values.get("scheduler")
        if name is None or family is None or name in family.schedulers:
            return name
        self.ignored.append("scheduler")
        self.warnings.append(f"Models of the family {family.name} do not support {name}; the model's own was used.")
        return None

    def loras(self, catalog: Catalog) -> tuple[LoraUse, ...]:
        names, strengths = split(self.values.get("lora_model")), split(self.values.get("lora_strength"))
        if len(strengths) == 1:
            strengths *= len(names)
        uses = []
        for index, name in enumerate(names):
            spec = found("LoRA", name, "lora_model", partial(catalog.find_lora, name))
            try:
                weight = float(strengths[index]) if index < len(strengths) else 1.0
            except ValueError as error:
                message = "lora_strength must be numbers, separated by commas"
                raise InvalidRequest(message, field="lora_strength") from error
            check_range("lora_strength", weight, *RANGES["lora_strength"])
            uses.append(LoraUse(spec.slug, weight))
        return tuple(uses)

    def vae(self, catalog: Catalog) -> str | None:
        names = split(self.values.get("vae"))
        finds = [partial(catalog.find_adapter, name, Kind.VAE, "vae") for name in names]
        slugs = [found("VAE", name, "vae", find).slug for name, find in zip(names, finds, strict=True)]
        if len(slugs) > 1:
            self.warnings.append(f"A model has one VAE; {names[0]} was used.")
        return slugs[0] if slugs else None

    def ip_adapter(self, catalog: Catalog) -> dict[str, Any]:
        name = self.values.get("ip_adapter_id")
        if name is None:
            self.ignored += [field for field in ("ip_adapter_image", "ip_adapter_scale") if field in self.values]
            return {}
        find = partial(catalog.find_adapter, name, Kind.IP_ADAPTER, "ip_adapter_id")
        spec = found("IP-Adapter", name, "ip_adapter_id", find)
        if "ip_adapter_image" not in self.values:
            raise InvalidRequest("ip_adapter_image is required", code="field_missing", field="ip_adapter_image")
        return {"ip_adapter": spec.slug, "ip_adapter_scale": self.values.get("ip_adapter_scale")}

    def pictures(self, settings: PaintSettings, request: Request) -> tuple[InpaintRequest, tuple[str, ...]]:
        """The request with its pictures, scaled to width x height, and warnings about them."""

        def read(field: str) -> DecodedPicture:
            role = PictureRole(
                code_prefix="mask" if field == "mask_image" else "image", error_prefix=f"Invalid {field}"
            )
            return read_picture(SentPicture(field, self.values[field]), role, request)

        source, mask = read("init_image"), read("mask_image")
        size = Size(self.values["width"], self.values["height"])
        scaled = replace(source, picture=resize(source.picture, size))
        references = {"ip_adapter_image": read("ip_adapter_image")} if settings.ip_adapter else {}
        inpaint_request, notes = build_request(scaled, mask, settings, MaskPolarity.WHITE_REPAINTS, references)
        # Both pictures are scaled: what may surprise is a mask of another size than the picture as sent.
        surprise = masks.scaling_note(mask.picture.size, source.picture.size)
        notes = tuple(note for note in notes if note != masks.scaling_note(mask.picture.size, size))
        return inpaint_request, (*notes, *([surprise] if surprise else []))


def split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def enhanced(prompt: str) -> str:
    """The prompt with those of ENHANCEMENTS that it lacks; an empty one stays empty."""
    words = [words for words in ENHANCEMENTS if words not in prompt.lower()]
    longer = ", ".join([prompt.rstrip(" ,."), *words])
    return longer if prompt.strip() and len(longer) <= MAX_PROMPT_CHARACTERS else prompt


def found(what: str, name: str, field: str, find: Callable[[], T]) -> T:
    """What `find` returns. Raises its InvalidRequest with a message of this service."""
    try:
        return find()
    except InvalidRequest as error:
        raise InvalidRequest(f"{what} not found: {name[:200]}", code=error.code, field=field) from error


def error_body(error: ApiError) -> dict[str, Any]:
    """`messege` is the spelling of earlier versions, which clients are advised to read as well."""
    message = MESSAGES.get(error.code, error.message)
    field = error.field or ""
    if error.code == "field_missing":
        message = f"{field} is required"
    elif error.code == "field_out_of_range" and field in RANGES:
        low, high = RANGES[field]
        message = f"{field} must be at least {low}" if high == math.inf else f"{field} must be between {low} and {high}"
    elif error.code.startswith("url_") and field != "webhook":
        message = "Unable to fetch image from provided URL"
    return {"status": "error", "message": message, "messege": message, "code": error.code}


def eta(generation: Generation) -> int:
    place = queue_position(generation)
    seconds = remaining_seconds(generation) if place is None else place.eta
    return UNKNOWN_ETA_SECONDS if seconds is None else max(1, math.ceil(seconds))


def links_of(generation: Generation) -> list[str]:
    """A link for each result, also before there is one."""
    data = generation.service_data
    names = [f"{index}-{generation.number:x}.png" for index in range(generation.settings["num_images"])]
    return [
        result_link("generations", name, generation, index, origin=data["origin"], key=data["ending_key"])
        for index, name in enumerate(names)
    ]


def inline_picture(image: GeneratedImage) -> str:
    with image.file.open("rb") as file:
        return base64.b64encode(file.read()).decode()


def yes_or_no(value: bool | None) -> str:
    return "yes" if value else "no"
