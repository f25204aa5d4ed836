"""The first page: the editor, or the sample photo."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from inpainting.media.results import is_signer_unknown
from inpainting.web import sample_page
from inpainting.web.editor.editor_choices import choices, page_limits


@require_GET
def first_page(request: HttpRequest) -> HttpResponse:
    """Return the editor; the sample photo for visitors, who sign in first where they follow a link into the editor."""
    if request.user.is_authenticated or request.GET or not settings.SAMPLE:
        return editor(request)
    return sample_page.first_page(request)


@login_required
@ensure_csrf_cookie
def editor(request: HttpRequest) -> HttpResponse:
    context = {
        **choices(),
        **page_limits(),
        "adds_credentials": settings.CONTENT_CREDENTIALS,
        "is_signer_unknown": is_signer_unknown(),
    }
    return render(request, "editor.html", context)
