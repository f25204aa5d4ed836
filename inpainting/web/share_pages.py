"""Share a result or the steps of a photo by a link, revoke the link, and the page that it opens."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.files import File
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import SignedInRequest
from inpainting.accounting.limits import LimitReached
from inpainting.core.codecs.formats import EXTENSIONS
from inpainting.core.credentials import Origin
from inpainting.core.errors import InvalidRequest
from inpainting.generations import history, shares, stack_shares, stacks
from inpainting.media.files import INERT, ImageUnavailable, errors_as_text, linked_image_response
from inpainting.media.previews import preview_of
from inpainting.media.results import file_with_settings, is_signed_in_pages, is_signer_unknown
from inpainting.models.images import SOURCE_CREDENTIALS
from inpainting.models.share import MAX_NAME_CHARACTERS, SharedLink
from inpainting.translation import translated
from inpainting.web.generation_page import about_links

PUBLIC = {
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex, nofollow, noarchive, noimageindex",
    "Referrer-Policy": "no-referrer",
}
"""Headers of everything that a shared link opens: kept by no cache and no search engine."""

ENDED = gettext_lazy("It has expired or was revoked, or a part of it is missing. Ask for a new one.")
"""The same for every link without an image, so that nobody learns which ones existed."""


WHAT_WAS_DONE = {
    "Removed": gettext_lazy("A photo from which something was removed with DreamLayer."),
    "Painted": gettext_lazy("A photo in which a model has painted a part from words with DreamLayer."),
    "Inserted": gettext_lazy("A photo into which another image was inserted with DreamLayer."),
    "Extended": gettext_lazy("A photo that was extended beyond its edges with DreamLayer."),
    "Enlarged": gettext_lazy("A photo that was enlarged with DreamLayer."),
}
NOTHING_ELSE_WAS_CHANGED = {
    "Removed": gettext_lazy("A photo from which something was removed with DreamLayer; nothing else was changed."),
    "Painted": gettext_lazy(
        "A photo in which a model has painted a part from words with DreamLayer; nothing else was changed."
    ),
    "Inserted": gettext_lazy(
        "A photo into which another image was inserted with DreamLayer; nothing else was changed."
    ),
    "Extended": gettext_lazy("A photo that was extended beyond its edges with DreamLayer; nothing else was changed."),
}


SOURCE_HAD = {
    True: gettext_lazy("the photo before had valid Content Credentials"),
    False: gettext_lazy("the photo before had Content Credentials that were not valid"),
}


WHAT_STEPS_DID = gettext_lazy("A photo that was edited in several steps with DreamLayer.")
STEPS_CHANGED_NOTHING_ELSE = gettext_lazy(
    "A photo that was edited in several steps with DreamLayer; nothing else was changed."
)


class LinkForm(forms.Form):
    name = forms.CharField(required=False, max_length=MAX_NAME_CHARACTERS)
    shows_source = forms.BooleanField(required=False)
    has_preview = forms.BooleanField(required=False)
    days = forms.TypedChoiceField(choices=[(days, str(days)) for days in shares.DAYS], coerce=int)


class ShareForm(LinkForm):
    index = forms.IntegerField(min_value=0)


@require_POST
@login_required
def share_result(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Share one result; the page of the generation then shows its link, or that it was removed."""
    form = ShareForm(request.POST)
    generation = history.everything_of(request.user).filter(pk=pk).first()
    if generation is None:
        raise Http404
    if form.is_valid() and not generation.is_removed:
        values = dict(form.cleaned_data)
        shares.share(get_object_or_404(generation.images, index=values.pop("index")), **values)
    return redirect(reverse("generation", args=[pk]) + "#share")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def share_stack(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Show the links to what the steps of a photo showed, and make one to what they show now."""
    stack = stacks.find(request.user, pk)
    if stack is None:
        raise Http404
    message, status = "", 200
    if request.method == "POST":
        form = LinkForm(request.POST)
        try:
            if form.is_valid():
                stack_shares.share(request.user, stack, **form.cleaned_data)
            return redirect(reverse("stack-share", args=[pk]))
        except InvalidRequest as error:
            message, status = translated(error.message), 429 if isinstance(error, LimitReached) else 400
        except ImageUnavailable as error:
            message, status = translated(error.message), error.status
    context = {
        "stack": stack,
        "name": stack.photo.name,
        "seen_count": len(stack.seen),
        "message": message,
        **about_links(request, stack_shares.find_of_stack(stack)),
    }
    return render(request, "share_stack.html", context, status=status)


@require_POST
@login_required
def revoke_share(request: SignedInRequest, pk: UUID) -> HttpResponse:
    shared = shares.revoke(request.user, pk)
    if shared is None:
        raise Http404
    return redirect(shared.listed_at)


@require_safe
def shared_page(request: HttpRequest, token: str) -> HttpResponse:
    """Return the result, and the photo as it was if its owner chose so: never the owner, the mask or the settings."""
    shared = shares.find(token)
    if shared is None:
        response = render(request, "link_ended.html", {"reason": ENDED}, status=404)
    else:
        preview = reverse("shared-preview", args=[token])
        context = {
            "share": shared,
            "image": shared.image,
            "token": token,
            "sentence": sentence_about(shared.image.origin),
            "is_signed": is_signed_in_pages(shared.image),
            "is_signer_unknown": is_signer_unknown(),
            "had_credentials": about_source(shared),
            "preview_url": request.build_absolute_uri(preview) if shared.has_preview else None,
        }
        response = render(request, "shared.html", context)
    for name, value in PUBLIC.items():
        response[name] = value
    return response


def sentence_about(origin: Origin) -> str:
    """Return what a shared image is, for somebody who knows nothing about it."""
    is_rest_as_it_was = origin.changes_nothing_else and not origin.is_enlarged
    if len(origin.verbs) > 1:
        return str(STEPS_CHANGED_NOTHING_ELSE if is_rest_as_it_was else WHAT_STEPS_DID)
    [verb] = origin.verbs
    if not is_rest_as_it_was:
        return str(WHAT_WAS_DONE[verb])
    return str(NOTHING_ELSE_WAS_CHANGED[verb])


def about_source(shared: SharedLink) -> str:
    """Return whether the Content Credentials of the photo were valid; "" where it had none."""
    is_valid = shared.image.report.get(SOURCE_CREDENTIALS)
    return "" if is_valid is None else str(SOURCE_HAD[is_valid])


@require_safe
@errors_as_text
def shared_image(request: HttpRequest, token: str) -> HttpResponseBase:
    """Return the result in the requested format, of steps as PNG, as a download, with Content Credentials if a network
    painted it."""
    image = get_share_or_404(token).image
    file = file_with_settings(image, image.format, is_signed=is_signed_in_pages(image))
    return shared_file(request, file, filename=f"dreamlayer.{EXTENSIONS[image.format]}")


@require_safe
@errors_as_text
def shared_preview(request: HttpRequest, token: str) -> HttpResponseBase:
    return shared_file(request, preview_of(get_share_or_404(token).image))


@require_safe
@errors_as_text
def shared_source(request: HttpRequest, token: str) -> HttpResponseBase:
    """Return the photo as it was, reduced, if its owner chose to show it."""
    shared = get_share_or_404(token)
    if not shared.shows_source:
        raise Http404
    return shared_file(request, preview_of(shared.source))


def shared_file(request: HttpRequest, file: File, *, filename: str | None = None) -> HttpResponseBase:
    return linked_image_response(request, file, {**INERT, **PUBLIC}, filename=filename)


def get_share_or_404(token: str) -> SharedLink:
    shared = shares.find(token)
    if shared is None:
        raise Http404
    return shared
