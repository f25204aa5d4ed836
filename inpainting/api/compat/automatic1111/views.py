"""The routes of AUTOMATIC1111's API beside those that paint: progress, control, options, lists, words for an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.api.analyses import respond_with_caption
from inpainting.api.compat.automatic1111.answers import progress
from inpainting.api.compat.automatic1111.body import ExtrasBody, SentImageBody, read_body
from inpainting.api.compat.automatic1111.options import NAME, options_of, store_options
from inpainting.api.compat.base64_images import base64_of
from inpainting.api.compat.callers_options import key_prefix
from inpainting.api.compat.control import end
from inpainting.api.compat.samplers import AUTOMATIC1111_SAMPLERS, SIGMAS
from inpainting.api.dialect import IGNORED_HEADER, json_response, shown_name
from inpainting.api.images import NAMED_IMAGE, SentImage, decode_sent, read_bytes, read_field
from inpainting.api.parsers import body_of
from inpainting.api.views import DialectView, InpaintView
from inpainting.captioning import CaptionStyle
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import ControlImageKind, Kind
from inpainting.core.adapter_uses import MAX_CONTROLS
from inpainting.core.codecs import encode_png, read_png_texts
from inpainting.core.codecs.metadata.infotext import KEYWORD, read_infotext
from inpainting.families.declaration import UPSCALING
from inpainting.generations import history
from inpainting.models import Generation, Status
from inpainting.upscalers.registry import upscalers

NO_CHECKPOINT = "none"
"""What is listed as the model where none is installed: some clients do without neither a list nor a choice."""


def callers_unfinished(request: Request) -> QuerySet[Generation]:
    """Return the generations of the caller's key in this service that wait or run, the oldest first."""
    return history.unfinished(request.user).filter(service=NAME, service_data__caller=key_prefix(request))


def current(unfinished: QuerySet[Generation]) -> Generation | None:
    """Return the generation that runs; else the first that waits."""
    return unfinished.filter(status=Status.RUNNING).first() or unfinished.first()


def null(headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse("null", content_type="application/json", headers=dict(headers or {}))


class LatestProgress(DialectView):
    def get(self, request: Request) -> HttpResponse:
        """The progress of the caller's generation. Where another process paints there is no image of it."""
        unfinished = callers_unfinished(request)
        shows_image = request.query_params.get("skip_current_image", "false").lower() not in ("true", "1")
        return json_response(progress(current(unfinished), unfinished.count(), shows_image=shows_image))


class Control(DialectView):
    """Ends the caller's generation, of which no image is left; that a request waits for it is then no error."""

    action: ClassVar[str] = "interrupt"

    def post(self, request: Request) -> HttpResponse:
        found = current(callers_unfinished(request).filter(cancel_requested=False))
        if found is not None:
            end(found, self.action)
        return json_response({})


class Skip(Control):
    action = "skip"


class OptionsView(DialectView):
    def get(self, request: Request) -> HttpResponse:
        catalog = Catalog()
        options, default = options_of(request, catalog), catalog.default()
        model = options.sd_model_checkpoint or (default.slug if default else NO_CHECKPOINT)
        return json_response({"samples_format": "png", **options.model_dump(), "sd_model_checkpoint": model})

    def post(self, request: Request) -> HttpResponse:
        """Keep the options of the caller's key."""
        ignored = store_options(request, body_of(request))
        return null({IGNORED_HEADER: ", ".join(shown_name(name) for name in ignored)})


class ExtraSingleImage(InpaintView):
    def post(self, request: Request, **names: str) -> HttpResponseBase:
        """The enlarged image; the image itself for the upscaler `None`, or a factor of 1."""
        body = read_body(ExtrasBody, request)
        if not body.keeps_the_size:
            return super().post(request, **names)
        image = base64_of(encode_png(read_field("image", body.image, request).image))
        return json_response({"html_info": "", "image": image})


class PngInfo(DialectView):
    takes_images = True

    def post(self, request: Request) -> HttpResponse:
        """The texts of a PNG: the generation parameters, as a text and by their names, and all others."""
        sent = SentImage("image", read_body(SentImageBody, request).image)
        data = read_bytes(sent, NAMED_IMAGE, request)
        decode_sent(sent, data, NAMED_IMAGE)
        items = read_png_texts(data)
        info = items.pop(KEYWORD, "")
        return json_response({"info": info, "items": items, "parameters": read_infotext(info) if info else {}})


class Interrogate(DialectView):
    takes_images = True

    def post(self, request: Request) -> HttpResponseBase:
        """`{"caption": …}`, in words for a photo, or for a drawing with the model `deepdanbooru`."""
        body = read_body(SentImageBody, request)
        style = CaptionStyle.ANIME if body.model.startswith("deep") else CaptionStyle.PHOTO
        return respond_with_caption(
            *(SentImage("image", body.image), style, request),
            dialect=self.dialect,
            render=lambda caption: json_response({"caption": caption.text}),
        )


class Nothing(DialectView):
    """Answers requests to read files again, which are seen here without them."""

    def post(self, request: Request) -> HttpResponse:
        return null()


class Listing(DialectView):
    """A list, or an object, that depends on the catalog alone; see `LISTS`."""

    def get(self, request: Request) -> HttpResponse:
        return json_response(LISTS[request.path.strip("/")](Catalog()))


def checkpoint(row: InferenceModel) -> dict[str, Any]:
    return {
        "title": row.slug,
        "model_name": row.slug,
        "hash": None,
        "sha256": None,
        "filename": f"{row.slug}.safetensors",
        "config": None,
    }


def adapters(catalog: Catalog, kind: Kind) -> list[str]:
    return [row.slug for row in catalog.adapters if row.kind == kind]


def sampler_list(catalog: Catalog) -> list[dict[str, Any]]:
    return [{"name": name, "aliases": [alias], "options": {}} for name, alias in AUTOMATIC1111_SAMPLERS.items()]


def scheduler_list(catalog: Catalog) -> list[dict[str, Any]]:
    rest = {"aliases": None, "default_rho": -1.0, "need_inner_model": False}
    return [{"name": label.lower(), "label": label, **rest} for label in SIGMAS]


def upscaler_list(catalog: Catalog) -> list[dict[str, Any]]:
    rest = {"model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
    return [{"name": name, **rest} for name in ["None", *upscalers(), *catalog.installed_tools(UPSCALING)]]


def lora_list(catalog: Catalog) -> list[dict[str, Any]]:
    return [
        {"name": row.slug, "alias": row.slug, "path": f"{row.slug}.safetensors", "metadata": {}}
        for row in catalog.loras
    ]


def embedding_list(catalog: Catalog) -> dict[str, Any]:
    unknown = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 0, "vectors": 0}
    return {"loaded": dict.fromkeys(adapters(catalog, Kind.EMBEDDING), unknown), "skipped": {}}


def module_list(catalog: Catalog) -> dict[str, Any]:
    """Return the kinds of control images that are computed from the source image."""
    kinds = [kind.value for kind in ControlImageKind if catalog.find_preprocessor(kind)]
    return {"module_list": ["none", "canny", "inpaint_only", *kinds], "module_detail": {}}


LISTS: dict[str, Callable[[Catalog], Any]] = {
    "sdapi/v1/sd-models": lambda catalog: [checkpoint(row) for row in catalog.installed()],
    "sdapi/v1/sd-vae": lambda catalog: [
        {"model_name": slug, "filename": f"{slug}.safetensors"} for slug in adapters(catalog, Kind.VAE)
    ],
    "sdapi/v1/samplers": sampler_list,
    "sdapi/v1/schedulers": scheduler_list,
    "sdapi/v1/upscalers": upscaler_list,
    "sdapi/v1/loras": lora_list,
    "sdapi/v1/embeddings": embedding_list,
    "sdapi/v1/scripts": lambda catalog: {"txt2img": ["controlnet"], "img2img": ["controlnet"]},
    "sdapi/v1/memory": lambda catalog: {"ram": {}, "cuda": {}},
    "sdapi/v1/cmd-flags": lambda catalog: {},
    **{
        f"sdapi/v1/{name}": lambda catalog: []
        for name in (
            *("latent-upscale-modes", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles"),
            *("script-info", "extensions"),
        )
    },
    "controlnet/version": lambda catalog: {"version": 2},
    "controlnet/model_list": lambda catalog: {"model_list": adapters(catalog, Kind.CONTROLNET)},
    "controlnet/module_list": module_list,
    "controlnet/settings": lambda catalog: {"control_net_unit_count": MAX_CONTROLS},
}
"""The path of a list -> what makes it."""
