"""What the published front end of DreamLayer calls beside `img2img`: its lists, and its tabs for words and extras.

The OpenAPI document leaves them out: their bodies are the front end's, and `/api/models` and `/api/upscale` have more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.api.dialect import blank_request, json_response, size_of_model
from inpainting.api.images import ImageRole, read_image
from inpainting.api.media.links import public_image, public_upload_name
from inpainting.api.native.bodies import Body, Shape, read_body
from inpainting.api.native.conditioning_images import conditioning_images_in
from inpainting.api.native.dialect import NativeApi
from inpainting.api.native.fields import ALIASES, TextToImageForm, check_fields, settings_from
from inpainting.api.native.front_end_adapters import with_adapters
from inpainting.api.native.requests import ignored_fields, parent_in, read_new_body
from inpainting.api.native.sample_prompts import NEGATIVE_PROMPTS, PROMPTS
from inpainting.api.native.schemas.generations import Painted
from inpainting.api.native.uploads import read_sent_file
from inpainting.api.native.upscale import Upscaling, sizeless
from inpainting.api.views import AnyBodyView, inpaint
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import Kind
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.codecs.formats import FORMATS_BY_EXTENSION
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import sentence
from inpainting.engines import registry
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.upscaling import find_upscaler
from inpainting.families.declaration import UPSCALING as UPSCALING_TOOLS
from inpainting.generations.submit import Submission
from inpainting.generations.uploads import store_upload
from inpainting.models import Generation, Status
from inpainting.upscalers.registry import upscalers

TEXT_FIELDS = frozenset(
    [
        *TextToImageForm.model_fields,
        *(alias for alias, name in ALIASES.items() if name in TextToImageForm.model_fields),
        *CONDITIONING_IMAGES,
    ]
)
CONTROL_IMAGE = ImageRole(code_prefix="image", error_prefix="Invalid control image")


class ModelList(APIView):
    """`GET`: the names of models of one kind, as a list of the front end shows them."""

    required_scope = Scope.READ
    find: Callable[[Catalog], list[Any]]

    def get(self, request: Request) -> Response:
        return Response({"status": "success", "models": type(self).find(Catalog())})


class LoraModels(ModelList):
    @staticmethod
    def find(catalog: Catalog) -> list[dict[str, Any]]:
        return [
            {**entry(row.slug, row.label), "triggerWords": [row.trigger] if row.trigger else []}
            for row in catalog.loras
        ]


class ControlNetModels(ModelList):
    @staticmethod
    def find(catalog: Catalog) -> list[str]:
        return [row.slug for row in catalog.adapters if row.kind == Kind.CONTROLNET]


class UpscalerModels(ModelList):
    @staticmethod
    def find(catalog: Catalog) -> list[dict[str, str]]:
        installed = [entry(row.slug, row.label) for row in catalog.tools(UPSCALING_TOOLS) if row.is_installed]
        return [*installed, *(entry(name, upscaler.label) for name, upscaler in upscalers().items())]


def entry(name: str, label: str) -> dict[str, str]:
    """`filename` is the name again: the front end sends it back."""
    return {"id": name, "name": label, "filename": name}


class TextToImage(AnyBodyView):
    """`POST`: an image from words alone, for which a diffusion model is needed."""

    required_scope = Scope.GENERATE
    takes_images = True  # control images

    def post(self, request: Request) -> HttpResponseBase:
        return inpaint(FROM_WORDS, request)


class FromWords(NativeApi):
    """The native API, whose requests have no source image."""

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        body, idempotency = read_new_body(request)
        catalog = Catalog()
        body, about_adapters = with_adapters(body, catalog)
        values, warnings = check_fields(TextToImageForm, body.fields, catalog, clamp=body.is_lenient)
        settings = settings_from(sizeless(values), catalog)
        own = size_of_model(catalog.requested_row(settings.model) or catalog.default())
        size = Size(values.get("width", own.width), values.get("height", own.height))
        inpaint_request, notes = blank_request(size, settings, conditioning_images_in(body, request))
        engine = values.get("engine", registry.AUTO)
        return inpaint_request, Submission(
            engine=DIFFUSION.name if engine == registry.AUTO else engine,
            warnings=(*about_adapters, *warnings, *notes),
            webhook_url=values.get("webhook_url", ""),
            ignored_fields=ignored_fields(body, TEXT_FIELDS),
            idempotency=idempotency,
            catalog=catalog,
            parent=parent_in(values, request.user),
        )


class ExtrasUpscale(AnyBodyView):
    """`POST`: enlarge an image, with the fields of the tab “Extras”."""

    required_scope = Scope.GENERATE
    takes_images = True

    def post(self, request: Request) -> HttpResponseBase:
        return inpaint(EXTRAS, request)


class Extras(Upscaling):
    """Upscaling in the words of the front end."""

    def translate(self, body: Body, catalog: Catalog, warnings: list[str]) -> Body:
        if body.shape is Shape.FORM:
            raise InvalidRequest("No parameters provided", code="field_missing", field="params")
        fields = dict(body.fields)
        if isinstance(fields.get("output_format"), str):
            format = fields["output_format"].lower()
            fields["output_format"] = FORMATS_BY_EXTENSION.get(format, format)
        name = str(fields.pop("upscaler_model", ""))
        if name:
            try:
                fields["model"] = find_upscaler(name, catalog)
            except InvalidRequest:
                warnings.append(
                    sentence("The upscaler “{name}” is not installed; the server's choice was used.", name=name[:60])
                )
        return replace(body, fields=fields)

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        if generation.status != Status.SUCCEEDED or self.max_wait_seconds(request) == 0:
            return super().render(generation, request)
        painted, size = Painted.of(generation, request), generation.result_size
        data = {
            "output_image": painted.images[0],
            "processing_time": round(1000 * (generation.seconds or 0.0)),  # in milliseconds
            "original_size": {"width": generation.source.width, "height": generation.source.height},
            "new_size": {"width": size.width, "height": size.height},
        }
        return json_response({**painted.model_dump(), "data": data})


class SendTo(AnyBodyView):
    """`POST`: whether a result can be loaded by the name of its file, before the front end shows it in another tab."""

    required_scope = Scope.READ
    tab: str

    def post(self, request: Request) -> Response:
        filename = read_body(request).fields.get("filename")
        if not filename:
            raise InvalidRequest("No filename provided", code="field_missing", field="filename")
        if public_image(str(filename).rpartition(".")[0]) is None:
            raise NotFound("File not found")
        return Response({"status": "success", "message": f"Image sent to {self.tab}"})


class SendToImg2Img(SendTo):
    tab = "img2img"


class SendToExtras(SendTo):
    tab = "extras"


class UploadControlImage(AnyBodyView):
    """`POST`: store the control image `file`. The front end shows it from `/api/images/` by the `filename` of the
    response, which is then the `input_image` of a unit."""

    required_scope = Scope.GENERATE
    takes_images = True

    def post(self, request: Request) -> Response:
        image = read_image(read_sent_file(request), CONTROL_IMAGE, request).image
        filename = public_upload_name(store_upload(request.user, image), request)
        return Response({"status": "success", "message": "Image uploaded", "filename": filename})


class FetchPrompt(APIView):
    """`GET`: a prompt for the front end's buttons for random ones: a negative one unless `?type=positive`."""

    required_scope = Scope.READ

    def get(self, request: Request) -> Response:
        is_positive = request.query_params.get("type") == "positive"
        prompt = secrets.choice(PROMPTS if is_positive else NEGATIVE_PROMPTS)
        return Response({"status": "success", "prompt": prompt})


FROM_WORDS, EXTRAS = FromWords(), Extras()
