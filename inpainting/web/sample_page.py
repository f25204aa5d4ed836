"""The first page for visitors: a sample photo to erase from without an account; and the welcome after the set-up."""

from __future__ import annotations

from allauth.core.ratelimit import consume
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from inpainting.core.codecs.accepted import ACCEPT_ATTRIBUTE
from inpainting.core.errors import InvalidRequest
from inpainting.generations import sample
from inpainting.models import InferenceModel
from inpainting.translation import translated
from inpainting.web.recommended_models import recommended

RETRY = {"Retry-After": "5"}
RETRY_AFTER_LIMIT = {"Retry-After": "60"}


@ensure_csrf_cookie
def first_page(request: HttpRequest) -> HttpResponse:
    size = sample.photo().image.size
    context = {"width": size.width, "height": size.height, "accepted_files": ACCEPT_ATTRIBUTE}
    return render(request, "sample.html", context)


@require_POST
def erase(request: HttpRequest) -> HttpResponse:
    """Return the sample photo without what the mask in the field `mask` covers, as a PNG."""
    if not settings.SAMPLE:
        raise Http404
    if not consume(request, action="sample"):
        return problem(
            gettext("You have tried this often. Wait a minute, or create an account."), 429, RETRY_AFTER_LIMIT
        )
    sent = request.FILES.get("mask")
    if sent is None or (sent.size or 0) > sample.MASK_LIMITS.max_bytes:
        return problem(gettext("Send the mask as a PNG of at most 64 KiB, in the field mask."), 400)
    try:
        image = sample.erase(sent.read())
    except InvalidRequest as error:
        return problem(translated(error.message), 400)
    except sample.SampleBusy as error:
        return problem(translated(error.message), 503, RETRY)
    return HttpResponse(image, content_type="image/png", headers={"Cache-Control": "no-store"})


@require_GET
@login_required
def welcome(request: HttpRequest) -> HttpResponse:
    return render(request, "welcome.html", recommended(request, InferenceModel.objects.all()))


def problem(message: str, status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    return JsonResponse({"message": message}, status=status, headers=headers)
