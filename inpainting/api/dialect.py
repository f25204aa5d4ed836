"""The seam between an HTTP dialect and the application.

A dialect translates one service's HTTP API: where the key is sent, how a request is read, and how results and errors
look. The native API (`inpainting.api.native`) is one dialect, each module of `inpainting.api.compat` another. To add
one, write a module there with a subclass of `Dialect` and an instance of it, `DIALECT`. No other file changes, unless
the links to its images have a folder of their own: `media/urls.py`, `media/named_images.py` and `images.URL` name it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from django.conf import settings as site
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from accounts.authentication import key_from_headers
from inpainting.api.errors import ApiError, ending_error
from inpainting.api.idempotency import read_idempotency
from inpainting.api.later_response import arrival_time
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.core import masks
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.inputs import NO_IMAGES, build_request, prepare_conditioning_images, upscale_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.outpainting import Outpaint
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.resizing import resize
from inpainting.core.sentences import sentence
from inpainting.core.upscaling import Upscale
from inpainting.generations.description import all_warnings
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import Submission
from inpainting.image_limits import image_limits
from inpainting.models import Generation, Status

FIELD_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
NO_NAME = re.compile(r"(?!)")
"""Matches nothing."""
MAX_IGNORED_FIELDS = 50
"""Names of ignored fields that a response lists at most."""
ENGINE_HEADER, MODEL_HEADER, IGNORED_HEADER = "X-DreamLayer-Engine", "X-DreamLayer-Model", "X-DreamLayer-Ignored"


class Dialect(ABC):
    """One HTTP API for generations. Subclasses keep no state between requests."""

    name: ClassVar[str]
    """Recorded as the `service` of its generations."""

    prefixes: ClassVar[tuple[str, ...]]
    """Paths that belong to it, with all below them: `/rest_api/` or `/tasks`. The longest prefix of a path decides."""

    pages: ClassVar[tuple[str, ...]] = ()
    """Beginnings of other paths, of a web app of the service: its path tokens open them too."""

    settings_by_field: ClassVar[Mapping[str, str]] = {}
    """The service's fields -> the settings that they set, for the list of ignored fields."""

    answers_before_the_end: ClassVar[bool] = False
    """Whether `render` has a response for a generation that waits or runs, by which the client can follow it."""
    renders_failures: ClassVar[bool] = False
    """Whether `render` has the response for a failed or cancelled generation too, which is no error there."""
    is_translated: ClassVar[bool] = False
    """Whether its messages have the language of the account or of the browser; in English without."""

    cancels_on_disconnect: bool = False
    """Whether a generation is cancelled where the client that waits for its response disconnects; one with an
    Idempotency-Key is not, since its request may be repeated."""

    key_in_body: ClassVar[bool] = False
    """Whether `read_api_key` reads the field `key`: the body is then received before its sender is known."""

    @property
    @abstractmethod
    def urls(self) -> Sequence[URLPattern | URLResolver]:
        """Its routes, whose views derive from `inpainting.api.views.DialectView`."""

    def read_api_key(self, request: Request) -> str | None:
        """Return the API key of the request, which is in its headers; None if there is none.

        A subclass may read `request.data` where `key_in_body`.
        """
        return key_from_headers(request)

    def read_idempotency(self, request: Request) -> Idempotency | None:
        """Return the Idempotency-Key of a request; None without. It is read before the request is parsed.

        Raises RepeatedRequest, and InvalidRequest for a key of another request.
        """
        return read_idempotency(request, api_key_field="key" if self.key_in_body else "")

    @abstractmethod
    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        """Read the request. Raises RepeatedRequest for one that was accepted before; any other exception is answered
        by `render_error`."""

    @abstractmethod
    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        """Return the response for a generation: succeeded; where `renders_failures` also failed or cancelled; waiting
        or running, after `max_wait_seconds` and, where `answers_before_the_end`, when the server stops.

        The body of the request is empty by then: its images are not kept while the response waits.
        """

    def response(self, generation: Generation, request: Request) -> HttpResponseBase:
        """Return the response for a generation: what `render` returns, or the error of one without a result."""
        if generation.has_ended and generation.status != Status.SUCCEEDED and not self.renders_failures:
            return self.render_error(ending_error(generation))
        return self.render(generation, request)

    @abstractmethod
    def render_error(self, error: ApiError) -> HttpResponse:
        """Return the response for an error anywhere below the prefixes: views, authentication, routing, the body
        limit."""

    def max_wait_seconds(self, request: Request) -> float | None:
        """Return the longest time from the request's arrival to the response; None: as long as the generation takes."""
        return None

    def max_accept_seconds(self, path: str) -> float | None:
        """Return the longest time from a request's arrival until its turn has come and its images have been fetched.

        After it the request is refused with 503; None: no limit.
        """
        return None

    def fetch_until(self, request: Request) -> float | None:
        """Return when the images behind URLs must have arrived, for `read_image`, on the monotonic clock; None: no
        limit for all of them together."""
        seconds = self.max_accept_seconds(request.path)
        return None if seconds is None else arrival_time(request) + seconds

    def events(self, generation: Generation, request: Request) -> AsyncIterator[bytes] | None:
        """Return the server-sent events that are the response, instead of `render`'s; None: no events were
        requested."""
        return None

    def webhook_body(self, generation: Generation) -> Mapping[str, Any] | str | None:
        """Return the JSON that is posted to `Submission.webhook_url` for an ended generation; None: none for this end.

        Called for every attempt to deliver it.
        """
        return None

    def meta(self, generation: Generation) -> dict[str, Any]:
        """Return the object under `meta` in the JSON of a service, beside its own fields: engine, model, ignored
        fields, warnings."""
        ignored = list(dict.fromkeys([*self.fields_of_ignored_settings(generation), *generation.ignored_fields]))
        model = None if "model" in generation.ignored else generation.settings.get("model")
        warnings = all_warnings(generation)
        return {"engine": generation.engine, "model": model, "ignored": ignored, "warnings": warnings}

    def fields_of_ignored_settings(self, generation: Generation) -> list[str]:
        """Return the fields that were sent and whose settings have no effect."""
        return [field for field in generation.sent_fields if self.settings_by_field[field] in generation.ignored]

    def meta_headers(self, generation: Generation) -> dict[str, str]:
        """Return `meta`, but for the warnings, as headers, for every response with a result."""
        meta = self.meta(generation)
        headers = {ENGINE_HEADER: meta["engine"], IGNORED_HEADER: ", ".join(meta["ignored"])}
        return {**headers, **({MODEL_HEADER: meta["model"]} if meta["model"] else {})}


def closest_model(
    catalog: Catalog,
    name: str,
    *,
    service: str,
    field: str,
    warnings: list[str],
    server_choice: re.Pattern[str] = NO_NAME,
) -> str | None:
    """Return what `Catalog.closest_installed` returns: the slug of an installed model, or None for the server's choice,
    which is added to the warnings.

    field: that held the name, for the warning. server_choice: the names that ask for that choice, unless a model here
    has one of them as an alias. Raises InvalidRequest, `model_not_found`, unless COMPAT_ANY_MODEL leaves names that no
    model has to the server.
    """
    if server_choice.fullmatch(name) and not catalog.has_named(name):
        return None
    try:
        slug = catalog.closest_installed(name)
    except InvalidRequest:
        if service not in site.COMPAT_ANY_MODEL:
            raise
        slug = None
    if slug is None:
        warnings.append(
            sentence(
                "{field}: neither “{name}” nor another model of its family is installed; the server chose.",
                field=field,
                name=name[:100],
            )
        )
    return slug


def size_of_model(row: InferenceModel | None) -> Size:
    """Return the size in which a model paints words; without a model, which no request is accepted for, any."""
    return Size(512, 512) if row is None else Size(row.width, row.height)


def blank_request(
    size: Size, settings: PaintSettings, conditioning_images: Mapping[str, DecodedImage] = NO_IMAGES
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Return a request for text-to-image, of a grey image that is repainted as a whole, and warnings about the
    conditioning images."""
    image = CanonicalImage(np.full((size.height, size.width, 3), 127, np.uint8))
    mask = np.full((size.height, size.width), 255, np.uint8)
    images, warnings = prepare_conditioning_images(conditioning_images, size)
    return InpaintRequest(image, mask, replace(settings, strength=1.0), images), tuple(warnings)


def enlarging_request(image: CanonicalImage, upscale: Upscale, settings: PaintSettings) -> InpaintRequest:
    """Return the request to enlarge an image. settings: with the upscaler as model, None for the server's choice.

    Raises what `Upscale.checked_size` raises.
    """
    return upscale_request(image, upscale.checked_size(image, image_limits()), settings)


def build_service_request(
    image: DecodedImage,
    mask: DecodedImage | None,
    settings: PaintSettings,
    conditioning_images: Mapping[str, DecodedImage] = NO_IMAGES,
    outpaint: Outpaint | None = None,
    *,
    may_be_unchanged: bool = False,
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Return what `build_request` returns for a mask whose white is repainted, and a canvas within the site's
    limits."""
    return build_request(
        *(image, mask, settings, MaskPolarity.WHITE_REPAINTS, conditioning_images, outpaint),
        may_be_unchanged=may_be_unchanged,
        limits=image_limits(),
    )


def build_scaled_request(
    source: DecodedImage,
    mask: DecodedImage | None,
    settings: PaintSettings,
    size: Size,
    references: Mapping[str, DecodedImage] = NO_IMAGES,
    *,
    polarity: MaskPolarity = MaskPolarity.WHITE_REPAINTS,
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Return what `build_request` returns, with source and mask scaled to `size`.

    A mask of another size is reported in the sizes as sent.
    """
    scaled = replace(source, image=resize(source.image, size))
    request, warnings = build_request(scaled, mask, settings, polarity, references)
    if mask is None:
        return request, warnings
    expected = masks.scaling_note(mask.image.size, size)
    surprising = masks.scaling_note(mask.image.size, source.image.size)
    kept = tuple(warning for warning in warnings if warning != expected)
    return request, (*kept, *([surprising] if surprising else []))


def name_in_path(request: Request, name: str) -> str | None:
    """Return a part of the path that the route captures, such as the name of a model; None where it has none."""
    captured: Mapping[str, str] = request.parser_context["kwargs"]
    return captured.get(name)


def origin_of(request: Request) -> str:
    """Return the address of this site as the client calls it, such as `https://host:8000`."""
    return request.build_absolute_uri("/").rstrip("/")


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a JSON response that needs no DRF view around it, for `Dialect.render_error`."""
    content = JSONRenderer().render(body)
    return HttpResponse(content, status=status, headers=dict(headers or {}), content_type="application/json")


def shown_name(name: str) -> str:
    """Return the name of an ignored field as responses list it."""
    return name if FIELD_NAME.fullmatch(name) else "(another name)"


def shown_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of ignored fields as responses list them, each once, the first MAX_IGNORED_FIELDS."""
    return tuple(dict.fromkeys(map(shown_name, names)))[:MAX_IGNORED_FIELDS]
