"""The views of ModelsLab's API."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import timedelta

from django.db.models import Q
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request

from accounts.models import Scope
from inpainting.api.analyses import respond_with_caption
from inpainting.api.compat.modelslab.answers import error_body
from inpainting.api.compat.modelslab.body import DescriptionForm, sent_fields
from inpainting.api.dialect import json_response, origin_of, shown_names
from inpainting.api.errors import NOT_FOUND, ending_error
from inpainting.api.images import URL, ImageRole, SentImage, read_image
from inpainting.api.later_response import arrival_time
from inpainting.api.media.links import ending_key, image_link
from inpainting.api.parsers import body_of
from inpainting.api.views import InpaintView, KeyedView
from inpainting.captioning import Caption, CaptionStyle
from inpainting.core.errors import InvalidRequest
from inpainting.generations import history
from inpainting.generations.uploads import store_upload
from inpainting.models import Status

TEMPORARY = timedelta(hours=24)
"""How long uploads, and results of requests with `temp`, are kept."""
UPLOAD = ImageRole(code_prefix="image", error_prefix="Invalid image", own_max_bytes=5 * 2**20)


class Inpaint(InpaintView, KeyedView):
    """The view that paints; see InpaintView."""


class Fetch(KeyedView):
    """`POST`: the result of a generation, named in the path or as `request_id`. Failed ones are answered with 200."""

    required_scope = Scope.READ

    def post(self, request: Request, number: str = "") -> HttpResponseBase:
        text = number or str(body_of(request).get("request_id", ""))
        kept = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        generation = None
        if re.fullmatch(r"[0-9]{1,16}", text):
            found = history.everything_of(request.user).filter(kept, number=int(text), service=self.dialect.name)
            generation = found.first()
        if generation is None:
            return self.dialect.render_error(replace(NOT_FOUND, message="Request not found"))
        history.refuse_removed(generation)
        if generation.status in (Status.FAILED, Status.CANCELLED):
            return json_response({**error_body(ending_error(generation)), "id": generation.number, "output": []})
        return self.dialect.render(generation, request)


class UploadView(KeyedView):
    """`POST`: store an image for a day. Its link may be sent as `init_image`, `mask_image` or `ip_adapter_image`."""

    takes_images = True

    def post(self, request: Request) -> HttpResponseBase:
        names = [name for name in ("base64_string", "init_image") if body_of(request).get(name)]
        if not names:
            raise InvalidRequest("base64_string is required", code="field_missing", field="base64_string")
        value = body_of(request)[names[0]]
        if not isinstance(value, str) or URL.match(value.strip()):
            raise InvalidRequest(f"{names[0]} must be base64", code="image_base64_invalid", field=names[0])
        decoded = read_image(SentImage(names[0], value), UPLOAD, request)
        uploaded = store_upload(request.user, decoded.image, keep_for=TEMPORARY)
        name = f"{uploaded.pk.hex}.png"
        hours = int(TEMPORARY / timedelta(hours=1))
        link = image_link(
            "generations", name, uploaded, origin=origin_of(request), key=ending_key(request), hours=hours
        )
        return json_response({"status": "success", "id": uploaded.pk.int >> 75, "output": [link]})  # below 2**53


class Describe(KeyedView):
    """`POST`: the words for `init_image` in `output`. Nothing is stored that could be fetched, so the id is 0."""

    takes_images = True

    def post(self, request: Request) -> HttpResponseBase:
        sent, arrived_at = sent_fields(request), arrival_time(request)
        image = SentImage("init_image", DescriptionForm.read(sent).init_image)
        ignored = shown_names(name for name, value in sent.items() if name != "init_image" and value is not False)

        def render(caption: Caption) -> HttpResponseBase:
            body = {
                "status": "success",
                "generationTime": round(time.monotonic() - arrived_at, 2),
                "id": 0,
                "output": [caption.text],
                "proxy_links": list[str](),
                "meta": {"captioner": caption.captioner, "ignored": ignored},
            }
            return json_response(body)

        return respond_with_caption(
            *(image, CaptionStyle.PHOTO, request),
            role=ImageRole(code_prefix="image", error_prefix="Invalid init_image"),
            dialect=self.dialect,
            render=render,
        )
