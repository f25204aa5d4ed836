"""The account page: sign-in, usage against limits, and the user's data; export and deletion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from allauth.account.decorators import reauthentication_required
from django import forms
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.request import split_domain_port
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from accounts.deletion import OnlyAdministrator
from accounts.models import SignedInRequest, User
from accounts.overview import overview
from inpainting.accounting.limits import spent, stored_bytes, waiting
from inpainting.generations import history
from inpainting.generations.delete import delete_account
from inpainting.generations.export import archive_of
from inpainting.media.archives import Archive
from inpainting.media.files import INERT, RangeNotSatisfiable, ranged_response
from inpainting.models import Retention, UserLimits
from inpainting.translation import translated

NEAR = 0.8


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """The use of one limit by a user."""

    label: str
    used: int
    limit: int | None  # None for no limit

    @property
    def is_reached(self) -> bool:
        return self.limit is not None and self.used >= self.limit

    @property
    def is_near(self) -> bool:
        """Whether less than a fifth of the limit is left."""
        return self.limit is not None and self.used > NEAR * self.limit


@never_cache
@require_GET
@login_required
def account(request: SignedInRequest) -> HttpResponse:
    used_bytes = stored_bytes(request.user)
    context = {
        "signs_in": overview(request.user),
        "can_be_installed": is_secure_context(request),
        "usages": usages(request.user, used_bytes),
        "count": history.count_of(request.user),
        "stored_bytes": used_bytes,
        "kept_days": Retention.for_user(request.user),
    }
    return render(request, "account.html", context)


def is_secure_context(request: HttpRequest) -> bool:
    """Return whether browsers let the pages do what needs HTTPS (https://www.w3.org/TR/secure-contexts/, 3.1)."""
    host, _ = split_domain_port(request.get_host())
    return request.is_secure() or host in ("localhost", "[::1]") or host.startswith("127.")


def usages(user: User, used_bytes: int) -> list[LimitUsage]:
    """Return the user's usage of each limit, in the order of the page."""
    limits, used = UserLimits.for_user(user) or UserLimits(), spent(user)
    return [
        LimitUsage(gettext("Generations queued or running"), waiting(user), limits.waiting),
        LimitUsage(gettext("Generations in the last minute"), used["per_minute"], limits.per_minute),
        LimitUsage(gettext("Generations in the last 24 hours"), used["per_day"], limits.per_day),
        LimitUsage(gettext("Megapixels in the last 24 hours"), used["megapixels_per_day"], limits.megapixels_per_day),
        LimitUsage(gettext("Megabytes stored"), used_bytes // 10**6, limits.stored_megabytes),
    ]


@never_cache
@require_safe
@login_required
def export(request: SignedInRequest) -> HttpResponseBase:
    """Return everything of the user as a ZIP. Password or second factor were asked for in the last five minutes.

    An interrupted download can be resumed later while nothing has changed: only who has begun it knows its ETag.
    """
    archive = archive_of(request.user)
    send = partial(send_archive, archive=archive)
    is_resumed = request.headers.get("If-Range") == archive.etag
    response: HttpResponseBase = (send if is_resumed else reauthentication_required(send))(request)
    return response


def send_archive(request: HttpRequest, *, archive: Archive) -> HttpResponseBase:
    headers = {
        **INERT,
        "Content-Type": "application/zip",
        "Content-Disposition": 'attachment; filename="dreamlayer-export.zip"',
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    try:
        return ranged_response(request, archive.chunks, size=len(archive), etag=archive.etag, headers=headers)
    except RangeNotSatisfiable as error:
        return HttpResponse(translated(error.message), status=error.status, headers=dict(error.headers))


class DeletionForm(forms.Form):
    """Asks for the address, so that nobody deletes an account by one click."""

    email = forms.EmailField(label=gettext_lazy("Your email address"))

    def __init__(self, user: User, data: QueryDict | None = None) -> None:
        super().__init__(data)
        self.user = user

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if User.objects.address_to_find(email).lower() != self.user.email.lower():
            raise forms.ValidationError(gettext("This is not the address of your account."))
        return email


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
@reauthentication_required
def delete(request: SignedInRequest) -> HttpResponse:
    """Delete the account. Password or second factor were asked for in the last five minutes."""
    form = DeletionForm(request.user, request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            delete_account(request.user)
        except OnlyAdministrator:
            form.add_error(None, gettext("You are the only administrator. Make somebody else one first, in the admin."))
        else:
            logout(request)
            messages.success(request, gettext("Your account and everything in it are deleted."))
            return redirect("editor")
    count = history.count_of(request.user)
    return render(request, "account_delete.html", {"form": form, "count": count})
