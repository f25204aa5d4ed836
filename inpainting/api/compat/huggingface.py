"""The inference API of Hugging Face, as huggingface_hub and @huggingface/inference call it: one address for each model.

A painting model gets an image in base64 or words, and the response is a PNG; a task gets the bytes of an image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from rest_framework.request import Request

from inpainting.api.analyses import respond_with_caption
from inpainting.api.compat.base64_images import base64_of
from inpainting.api.dialect import (
    Dialect,
    blank_request,
    build_scaled_request,
    closest_model,
    json_response,
    name_in_path,
    shown_names,
    size_of_model,
)
from inpainting.api.errors import RETRY_SECONDS, ApiError
from inpainting.api.fields import Fields, ImageText, Integer, Range
from inpainting.api.images import NAMED_IMAGE, NAMED_MASK, SentImage, read_field, read_image
from inpainting.api.parsers import ImageBytesParser, JsonFormParser, body_of
from inpainting.api.selecting import respond_with_masks
from inpainting.api.setting_types import Guidance, Prompt, Seed
from inpainting.api.views import InpaintView
from inpainting.captioning import Caption, CaptionStyle
from inpainting.catalog.lookup import Catalog
from inpainting.core.codecs import encode_png
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import RANGES
from inpainting.families.declaration import SEGMENTATION
from inpainting.generations.submit import Submission
from inpainting.media.results import result_bytes
from inpainting.models import Generation
from inpainting.segmenters import registry
from inpainting.segmenters.base import Candidate, Selection

NAME = "huggingface"
SERVER_CHOICE = re.compile("auto|image-to-image|text-to-image")
"""Names in a path for the model that the server chooses."""
find_model = partial(closest_model, service=NAME, field="model", server_choice=SERVER_CHOICE)
DEFAULT_SEGMENTER = {"image-segmentation": registry.MAIN_OBJECT}
BASE64_IMAGE = re.compile(r"(?:data:[^,]{0,200};base64,)?[A-Za-z0-9+/]{64,}={0,2}")
"""An image in `inputs`. Words have spaces or other characters; the least image has more than 64 characters."""
FIELDS_OF_IMAGES = {"prompt", "mask_image", "target_size", "strength"}
"""Parameters that text-to-image does not read."""
Side = Annotated[Integer, Range(*RANGES["width"])]


class TargetSize(Fields):
    width: Side
    height: Side


class Parameters(Fields):
    """The parameters that have an effect."""

    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    num_inference_steps: Annotated[Integer, Range(*RANGES["steps"])] | None = None
    guidance_scale: Guidance | None = None
    strength: Annotated[float, Range(*RANGES["strength"])] | None = None
    seed: Seed = 0
    mask_image: ImageText | None = None
    target_size: TargetSize | None = None
    width: Side | None = None
    height: Side | None = None


class InputsParser(ImageBytesParser):
    field = "inputs"


class ModelView(InpaintView):
    """`POST`: the task of the model in the path."""

    def post(self, request: Request, **names: str) -> HttpResponseBase:
        model = names["model"]
        if model == "image-to-text":
            render = partial(render_caption, request=request)
            sent = sent_image(request)
            return respond_with_caption(sent, CaptionStyle.PHOTO, request, dialect=self.dialect, render=render)
        if model not in DEFAULT_SEGMENTER and Catalog().find_tool(model, SEGMENTATION) is None:
            return super().post(request)
        segmenter, main_object = registry.find(DEFAULT_SEGMENTER.get(model, model)), Selection()
        main_object.check_for(segmenter)
        return respond_with_masks(
            *(segmenter, main_object, sent_image(request), request, render_masks), dialect=self.dialect
        )


class HuggingFace(Dialect):
    """The dialect under `/hf/`. Errors are `{"error"}`."""

    name: ClassVar[str] = NAME
    prefixes: ClassVar[tuple[str, ...]] = ("/hf/",)
    settings_by_field: ClassVar[Mapping[str, str]] = {
        "inputs": "prompt",
        "num_inference_steps": "steps",
        **{name: name for name in ("prompt", "negative_prompt", "guidance_scale", "strength", "seed")},
    }

    @property
    def urls(self) -> Sequence[URLPattern]:
        view = ModelView.as_view(parser_classes=(JsonFormParser, InputsParser))
        return [re_path(r"^hf/(?P<model>[^/]+(?:/[^/]+)?)/?$", view)]

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        body, catalog = body_of(request), Catalog()
        sent, inputs = read_parameters(body), sent_image(request).value
        values, choices = Parameters.read(sent), list[str]()
        is_image = isinstance(inputs, UploadedFile) or bool(BASE64_IMAGE.fullmatch(inputs))
        settings = PaintSettings(
            prompt=values.prompt if is_image else Parameters.read({"prompt": inputs}).prompt,
            negative_prompt=values.negative_prompt,
            steps=values.num_inference_steps,
            guidance_scale=values.guidance_scale,
            strength=values.strength,
            seed=values.seed,
            model=find_model(catalog, str(name_in_path(request, "model")), warnings=choices),
        )
        if is_image:
            inpaint_request, warnings = read_images(values, settings, request)
        else:
            own = size_of_model(catalog.chosen_row(settings.model))
            size = Size(values.width or own.width, values.height or own.height)
            inpaint_request, warnings = blank_request(size, settings)
        read = Parameters.model_fields.keys() - ({"width", "height"} if is_image else FIELDS_OF_IMAGES)
        return inpaint_request, Submission(
            warnings=(*choices, *warnings),
            sent_fields=tuple(sent) if is_image else ("inputs", *sent),
            ignored_fields=shown_names(sorted(sent.keys() - read)),
            catalog=catalog,
        )

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        data = result_bytes(generation.images.get(index=0))
        return HttpResponse(data, content_type="image/png", headers=self.meta_headers(generation))

    def render_error(self, error: ApiError) -> HttpResponse:
        """Return 424 where a model is missing: the JavaScript client repeats a request that gets 503, for ever."""
        status = {"model_unavailable": 424, "model_not_found": 404}.get(error.code, error.status)
        wait = {"estimated_time": float(RETRY_SECONDS)} if status == 503 else {}
        return json_response({"error": error.message, **wait}, status=status, headers=error.headers)


def read_parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    parameters = body.get("parameters")
    if not isinstance(parameters, dict | None):
        raise InvalidRequest("parameters must be an object.", field="parameters")
    return {} if parameters is None else {name: value for name, value in parameters.items() if value is not None}


def sent_image(request: Request) -> SentImage:
    """Return the image of a request, a whole body or base64, or the words in its place. Raises InvalidRequest."""
    inputs = body_of(request).get("inputs")
    if not isinstance(inputs, UploadedFile | str) or not inputs:
        raise InvalidRequest("inputs must be an image or words.", code="field_missing", field="inputs")
    return SentImage("inputs", inputs)


def read_images(
    values: Parameters, settings: PaintSettings, request: Request
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Return the request with its images. White in the mask is repainted; without one the whole image is."""
    image, mask = read_image(sent_image(request), NAMED_IMAGE, request), None
    if values.mask_image is not None:
        mask = read_field("mask_image", values.mask_image, request, role=NAMED_MASK)
    target = values.target_size
    size = image.image.size if target is None else Size(target.width, target.height)
    return build_scaled_request(image, mask, settings, size)


def render_caption(caption: Caption, request: Request) -> HttpResponse:
    """Return the words in a list for huggingface_hub, and alone for the JavaScript client, which reads no list."""
    body = {"generated_text": caption.text}
    is_script = request.headers.get("User-Agent", "").startswith("@huggingface/inference")
    return json_response(body if is_script else [body])


def render_masks(found: Sequence[Candidate]) -> HttpResponse:
    """Return the masks, whose white is selected. A segmenter that does not rate its mask is sure of it."""
    pngs = [encode_png(CanonicalImage.of_mask(candidate.mask)) for candidate in found]
    return json_response(
        [
            {"label": "object", "score": 1.0 if candidate.score is None else candidate.score, "mask": base64_of(png)}
            for candidate, png in zip(found, pngs, strict=True)
        ]
    )


DIALECT = HuggingFace()
