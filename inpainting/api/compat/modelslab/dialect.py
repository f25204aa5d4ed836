"""ModelsLab's image API, versions 6 and 7, as a dialect."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.conf import settings as site
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from rest_framework.request import Request

from accounts.authentication import key_from_headers
from inpainting.api.compat.modelslab import views
from inpainting.api.compat.modelslab.answers import error_body, eta, inline_image, links_of, yes_or_no
from inpainting.api.compat.modelslab.body import FORMS, NAME, VERSION_7, RequestForm, sent_fields
from inpainting.api.compat.modelslab.translation import RETURNED_LINKS, read_request
from inpainting.api.dialect import Dialect, json_response
from inpainting.api.errors import ApiError, ending_error
from inpainting.api.later_response import arrival_time
from inpainting.api.parsers import AnyTypeJsonParser, body_of
from inpainting.core.request import InpaintRequest
from inpainting.generations.description import nsfw_content_detected
from inpainting.generations.submit import Submission
from inpainting.models import Generation, Status

GROUPS = ("images", "image_editing")
"""The clients' objects fetch results below the group of the route that accepted the request."""
MIN_FETCH_SECONDS = 5
"""The least time for the images behind URLs, however short the wait is and however long the request waited for its
turn."""


class ModelsLab(Dialect):
    """The dialect under `/api/v6/`, its twin for enterprises, and the routes of `/api/v7/` that paint images.

    Errors are `{"status": "error", "message", "messege", "code"}`.
    """

    name: ClassVar[str] = NAME
    prefixes: ClassVar[tuple[str, ...]] = ("/api/v6/", "/api/v1/enterprise/", "/api/v7/")
    answers_before_the_end = True
    key_in_body = True
    settings_by_field: ClassVar[Mapping[str, str]] = {
        "model_id": "model",
        "enhance_prompt": "prompt",
        **dict.fromkeys(("num_inference_steps", "steps"), "steps"),
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
        inpaint, fetch, upload, describe = (
            view.as_view(parser_classes=(AnyTypeJsonParser,))
            for view in (views.Inpaint, views.Fetch, views.UploadView, views.Describe)
        )
        routes = {
            **dict.fromkeys(FORMS, inpaint),
            **dict.fromkeys((f"{group}/fetch{number}" for group in GROUPS for number in ("", "/<str:number>")), fetch),
            **dict.fromkeys(("base64_to_url", "image_editing/base64_to_url"), upload),
            "image_editing/caption": describe,
        }
        newer = {route: view for route, view in routes.items() if route.startswith(("images/inpaint", "images/fetch"))}
        newer |= dict.fromkeys(VERSION_7, inpaint)
        return [
            path(f"{prefix[1:]}{route}{slash}", view)
            for prefix in self.prefixes
            for route, view in (newer if prefix == "/api/v7/" else routes).items()
            for slash in ("", "/")
        ]

    def read_api_key(self, request: Request) -> str | None:
        """Return the key of the body, else that of a header: `Authorization: Bearer`, `X-API-Key` or `key`."""
        in_body = body_of(request).get("key")
        return str(in_body) if in_body else key_from_headers(request) or request.headers.get("key")

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        route = "/".join(request.path.rstrip("/").split("/")[-2:])
        route = VERSION_7.get(route, route)
        return read_request(route, sent_fields(request), request, fetch_until=self.fetch_until(request))

    def fetch_until(self, request: Request) -> float | None:
        """Return a time as far away as the response may take; at least MIN_FETCH_SECONDS, since a late response is no
        error here."""
        in_time: float = arrival_time(request) + site.MODELSLAB_WAIT_SECONDS
        return max(in_time, time.monotonic() + MIN_FETCH_SECONDS)

    def max_wait_seconds(self, request: Request) -> float | None:
        sent = body_of(request).get("instant_response") or None
        is_instant = RequestForm.read({"instant_response": sent}).instant_response
        return 0.0 if is_instant else site.MODELSLAB_WAIT_SECONDS

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        if not generation.has_ended:
            return json_response(self.processing(generation))
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
        message = ending_error(generation).message
        return {"status": "failed", "id": generation.number, "message": message, "track_id": track_id}

    def success(self, generation: Generation, *, inline: bool = True) -> dict[str, Any]:
        """Return the body of a success.

        inline: whether images are sent as base64 where the request has `base64`.
        """
        links, images = links_of(generation), generation.images.all()
        return {
            "status": "success",
            "generationTime": round(generation.seconds or 0.0, 2),
            "id": generation.number,
            "output": [inline_image(image) for image in images]
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
            "fetch_result": f"{generation.service_data['origin']}/api/v6/images/fetch/{generation.number}",
            "id": generation.number,
            "output": [],
            "meta": self.meta(generation),
            "future_links": links_of(generation),
        }

    def fields_of_ignored_settings(self, generation: Generation) -> list[str]:
        ignored = super().fields_of_ignored_settings(generation)
        if "safety_checker_type" in generation.sent_fields and not generation.settings["safety_checker_type"]:
            ignored.append("safety_checker_type")  # The safety checker is off.
        return ignored

    def meta(self, generation: Generation) -> dict[str, Any]:
        """Return the settings that were painted with. Booleans are texts, as the service's are."""
        settings, data, size = generation.settings, generation.service_data, generation.result_size
        same = ("prompt", "negative_prompt", "guidance_scale", "strength", "seed", "scheduler", "vae")
        return {
            **super().meta(generation),
            **{name: settings[name] for name in same},
            "model_id": data["model_id"],
            "clip_skip": data["clip_skip"],
            **{name: data.get(name) for name in ("track_id", *RETURNED_LINKS)},
            **dict.fromkeys(("W", "width"), size.width),
            **dict.fromkeys(("H", "height"), size.height),
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
        }


DIALECT = ModelsLab()
