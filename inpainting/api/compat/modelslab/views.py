"""The views of ModelsLab's API."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from django.db.models import Q
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request

from accounts.models import Scope
from inpainting.api.compat.modelslab.answers import error_body
from inpainting.api.dialect import json_response, origin_of
from inpainting.api.errors import NOT_FOUND, ended_without_result
from inpainting.api.images import URL, ImageRole, SentImage, read_image
from inpainting.api.media.links import ending_key, image_link
from inpainting.api.parsers import body_of
from inpainting.api.views import InpaintView, KeyedView
from inpainting.core.errors import InvalidRequest
from inpainting.generations import history
from inpainting.generations.uploads import store_upload
from inpainting.models import Status

TEMPORARY = timedelta(hours=24)
"""How long uploads, and results of requests with `temp`, are kept."""
UPLOAD = ImageRole(code_prefix="image", error_prefix="Invalid image", own_max_bytes=5 * 2**20)


class Inpaint(InpaintView, KeyedView):
    """`POST`: see InpaintView."""


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
            return json_response(
                {**error_body(ended_without_result(generation)), "id": generation.number, "output": []}
            )
        return self.dialect.render(generation, request)


class Upload(KeyedView):
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
