"""What a browser needs to install the pages as an app (https://www.w3.org/TR/appmanifest/, Web Share Target API)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods

from inpainting.core.codecs.accepted import ACCEPT_ATTRIBUTE, CONTENT_TYPES, FORMATS

PHOTO = "photo"
"""The field in which the browser sends a photo that another app shares."""
ICONS = {"icon-192.png": "192x192", "icon-512.png": "512x512"}
DAY = 86_400


@require_GET
@cache_control(max_age=DAY)
def manifest(request: HttpRequest) -> JsonResponse:
    """Return the name, the icons, and which files and shared photos the app takes."""
    editor = reverse("editor")
    icons: list[dict[str, Any]] = [
        {"src": static(f"img/{name}"), "sizes": sizes, "type": "image/png"} for name, sizes in ICONS.items()
    ]
    icons.append(
        {"src": static("img/icon-maskable.png"), "sizes": "512x512", "type": "image/png", "purpose": "maskable"}
    )
    content = {
        "id": editor,
        "name": "DreamLayer",
        "description": gettext("Remove things from photos, or replace them."),
        "start_url": editor,
        "scope": editor,
        "display": "standalone",
        "background_color": "#26272b",
        "theme_color": "#26272b",
        "categories": ["photo"],
        "icons": icons,
        "share_target": {
            "action": reverse("shared-photo"),
            "method": "POST",
            "enctype": "multipart/form-data",
            "params": {"files": [{"name": PHOTO, "accept": CONTENT_TYPES}]},
        },
        "file_handlers": [
            {
                "action": editor,
                "accept": {kind: format.suffixes for format in FORMATS.values() for kind in format.content_types},
            }
        ],
    }
    return JsonResponse(content, content_type="application/manifest+json")


@require_GET
@cache_control(no_cache=True)
def service_worker(request: HttpRequest) -> HttpResponse:
    """Return the script that receives shared photos in the browser, at the root, which is its scope."""
    return render(request, "service_worker.js", {"field": PHOTO}, content_type="text/javascript")


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def shared_photo(request: HttpRequest) -> HttpResponseBase:
    """Ask again for a shared photo that no service worker has received.

    What is posted is not read and changes nothing, so a form of another site does no harm.
    """
    if request.method == "POST":
        return redirect("shared-photo")  # a reload shall not send the photo again
    return render(request, "shared_photo.html", {"accepted_files": ACCEPT_ATTRIBUTE})
