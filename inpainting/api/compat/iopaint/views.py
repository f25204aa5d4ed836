"""The routes of IOPaint's API. They also take the session of a page of this site, as which its web app runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts.authentication import LocalAuthentication, OwnPageAuthentication
from inpainting.api.authentication import DialectKeyAuthentication
from inpainting.api.compat.iopaint import models
from inpainting.api.compat.iopaint.body import MaskFields, ModelFields, PluginFields, PluginModelFields, marked_pixels
from inpainting.api.compat.iopaint.models import BACKGROUND, CLICKS, ENLARGE, MODEL, NAME
from inpainting.api.compat.iopaint.translation import SAMPLERS
from inpainting.api.concurrency_limits import computing, limit_segmentations
from inpainting.api.dialect import closest_model, json_response
from inpainting.api.images import NAMED_IMAGE, NAMED_MASK, ImageRole, SentImage, read_bytes, read_field
from inpainting.api.parsers import body_of, json_object
from inpainting.api.recent_images import read_recent
from inpainting.api.selecting import respond_with_masks
from inpainting.api.views import DialectView, InpaintView
from inpainting.catalog.lookup import Catalog
from inpainting.core import masks
from inpainting.core.backgrounds import cut_out
from inpainting.core.codecs import encode_png, read_png_texts
from inpainting.core.codecs.metadata.infotext import KEYWORD, read_infotext
from inpainting.core.codecs.png.text import SETTINGS_TEXT
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage, Mask
from inpainting.engines.registry import AUTO
from inpainting.segmenters import registry
from inpainting.segmenters.base import Point, Selection

BRUSH = (255, 203, 0, 186)
"""The colour of masks that the app shows, RGBA."""
GROWN_BY = 4
"""Pixels by which the mask of a plug-in grows, so that nothing of the object's rim is left."""
MASK_PLUGINS, IMAGE_PLUGINS = (CLICKS, BACKGROUND), (BACKGROUND, ENLARGE)
"""The plug-ins that make masks, and those that make images."""
MODEL_KEYS = {CLICKS: "interactiveSegModel", BACKGROUND: "removeBGModel", ENLARGE: "realesrganModel"}
"""Plug-in -> the key of its model in the configuration; with an s, of its models."""


class PageView(DialectView):
    authentication_classes: Any = (DialectKeyAuthentication, OwnPageAuthentication, LocalAuthentication)


class Paint(PageView, InpaintView):
    """The image in its own format, with the seed in `X-Seed`."""


class ServerConfig(PageView):
    def get(self, request: Request) -> HttpResponse:
        catalog = Catalog()
        names = {plugin: models.plugin_models(plugin, catalog) for plugin in MODEL_KEYS}
        body = {
            "plugins": [
                {
                    "name": plugin,
                    "support_gen_image": plugin in IMAGE_PLUGINS,
                    "support_gen_mask": plugin in MASK_PLUGINS,
                }
                for plugin in MODEL_KEYS
            ],
            "modelInfos": [
                models.model_info(name, row, catalog) for name, row in models.painting_models(catalog).items()
            ],
            **{key: models.chosen(request, plugin, names[plugin]) for plugin, key in MODEL_KEYS.items()},
            **{f"{key}s": names[plugin] for plugin, key in MODEL_KEYS.items()},
            **dict.fromkeys(("enableFileManager", "enableAutoSaving", "enableControlnet"), False),
            "controlnetMethod": None,
            **dict.fromkeys(("disableModelSwitch", "isDesktop"), False),
            "samplers": SAMPLERS,
        }
        return json_response(body)


class Samplers(PageView):
    def get(self, request: Request) -> HttpResponse:
        return json_response(SAMPLERS)


class Model(PageView):
    def get(self, request: Request) -> HttpResponse:
        catalog = Catalog()
        return json_response(models.model_info(*models.chosen_model(request, catalog), catalog))

    def post(self, request: Request) -> HttpResponse:
        """Switch to another model: for this key, or for the pages of this account."""
        catalog, name = Catalog(), ModelFields.read(body_of(request)).name
        if name not in models.painting_models(catalog):
            # The response names the choice, so that it needs no warning.
            name = closest_model(catalog, name, service=NAME, field="name", warnings=[]) or AUTO
        models.choose(request, MODEL, name)
        return self.get(request)


class SwitchPluginModel(PageView):
    def post(self, request: Request) -> HttpResponse:
        fields = PluginModelFields.read(body_of(request))
        check_plugin(fields.plugin_name, MODEL_KEYS, field="plugin_name")
        names = models.plugin_models(fields.plugin_name, Catalog())
        if fields.model_name not in names:
            message = f"There is no installed model of that name for this plug-in; there are: {', '.join(names)}."
            raise InvalidRequest(message, code="model_not_found", field="model_name")
        models.choose(request, fields.plugin_name, fields.model_name)
        return json_response(None)


class GenInfo(PageView):
    takes_images = True

    def post(self, request: Request) -> HttpResponse:
        """The prompts in a PNG: of one made here, or of one with AUTOMATIC1111's text."""
        file = body_of(request).get("file")
        if not isinstance(file, UploadedFile):
            raise InvalidRequest("file must be a file.", code="field_missing", field="file")
        texts = read_png_texts(read_bytes(SentImage("file", file), ImageRole.of("file"), request))
        found = read_infotext(texts.get(KEYWORD, ""))
        others = {"prompt": found["Prompt"], "negative_prompt": found["Negative prompt"].partition("\n")[0]}
        return json_response(own_prompts(texts) or others)


def own_prompts(texts: dict[str, str]) -> dict[str, str]:
    """Return the prompts of an image that was made here; none for others."""
    try:
        settings = json_object(texts.get(SETTINGS_TEXT, ""))
        return {name: str(settings[name]) for name in ("prompt", "negative_prompt")}
    except (ValueError, KeyError):
        return {}


class AdjustMask(PageView):
    takes_images = True

    def post(self, request: Request) -> HttpResponse:
        """The mask in the colour of the app's brush, grown or shrunk by `kernel_size` pixels, or inverted."""
        fields = MaskFields.read(body_of(request))
        pixels = {"expand": fields.kernel_size, "shrink": -fields.kernel_size, "reverse": 0}[fields.operate]
        with limit_segmentations(request.user):
            decoded = read_field("mask", fields.mask, request, role=NAMED_MASK)
            with computing(request.user):
                mask = masks.grow(marked_pixels(decoded), pixels)
                return brush_response(255 - mask if fields.operate == "reverse" else mask)


class PluginView(InpaintView, PageView):
    """Base of both routes of plug-ins."""

    def respond(
        self, request: Request, fields: PluginFields, selection: Selection, render: Callable[[Mask], HttpResponseBase]
    ) -> HttpResponseBase:
        """Respond with the mask of the plug-in's segmenter."""
        segmenter = registry.find(models.chosen_for(request, fields.name, Catalog()))
        selection.check_for(segmenter)
        return respond_with_masks(
            *(segmenter, selection, SentImage("image", fields.image), request, lambda found: render(found[0].mask)),
            dialect=self.dialect,
        )


class PluginMask(PluginView):
    def post(self, request: Request, **names: str) -> HttpResponseBase:
        """The mask of what was clicked on, or of the main object, in the colour of the app's brush."""
        fields = PluginFields.read(body_of(request))
        check_plugin(fields.name, MASK_PLUGINS)
        clicks = fields.clicks if fields.name == CLICKS else ()
        points = tuple(Point(x, y, is_object > 0) for x, y, is_object, *_ in clicks)

        def render(mask: Mask) -> HttpResponse:
            return brush_response(masks.grow(mask, GROWN_BY))

        return self.respond(request, fields, Selection(points=points), render)


class PluginImage(PluginView):
    def post(self, request: Request, **names: str) -> HttpResponseBase:
        """A PNG: the image enlarged, or without its background."""
        fields = PluginFields.read(body_of(request))
        check_plugin(fields.name, IMAGE_PLUGINS)
        if fields.name == ENLARGE:
            return super().post(request)
        sent = SentImage("image", fields.image)

        def render(mask: Mask) -> HttpResponse:
            return png_response(cut_out(read_recent(sent, request, NAMED_IMAGE).image, mask))

        return self.respond(request, fields, Selection(soft_edges=True), render)


def check_plugin(name: str, names: Collection[str], *, field: str = "name") -> None:
    if name not in names:
        message = f"Plugin not found: “{name[:60]}”; this can be done here by: {', '.join(names)}."
        raise InvalidRequest(message, code="plugin_not_found", field=field)


def brush_response(mask: Mask) -> HttpResponse:
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[mask > 127] = BRUSH
    return png_response(CanonicalImage(pixels))


def png_response(image: CanonicalImage) -> HttpResponse:
    return HttpResponse(encode_png(image), content_type="image/png")
