"""The pages “API keys”, “First administrator” and “Too many requests”, and sessions."""

from __future__ import annotations

from allauth.account.decorators import reauthentication_required
from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.i18n import set_language

from accounts import first_administrator
from accounts.audit import Action
from accounts.forms import ApiKeyForm, FirstAdministratorForm
from accounts.models import ApiKey, SignedInRequest, User
from accounts.path_tokens import path_prefix, record_path_token

SETUP_ENDED = gettext_lazy(
    "It creates the first administrator once, within a day. Until there is one, each start prints a new link."
)


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
@reauthentication_required(allow_get=True)
def api_keys(request: SignedInRequest) -> HttpResponse:
    """List the keys; make one after a password or second factor of the last five minutes."""
    key, new_key = None, ""
    form = ApiKeyForm(request.POST or None)
    if form.is_valid():
        chosen = form.cleaned_data
        with transaction.atomic():
            key, new_key = ApiKey.issue(
                request.user,
                name=chosen["name"],
                scopes=chosen["scopes"],
                expires_at=form.expires_at(),
                ends_links=chosen["ends_links"],
                service=chosen["service"],
            )
            record_path_token(request.user, Action.ADDED, key)
        form = ApiKeyForm()
    keys = request.user.api_keys.filter(revoked_at=None)
    address = request.build_absolute_uri(path_prefix(new_key)) if key is not None and key.service else ""
    shown = {"keys": keys, "key": key, "new_key": new_key, "address": address, "form": form}
    return render(request, "api_keys.html", shown)


@login_required
@require_POST
def end_session(request: SignedInRequest, pk: int) -> HttpResponse:
    """End another session of the user. The one of the request ends by signing out."""
    others = UserSession.objects.filter(user=request.user).exclude(session_key=request.session.session_key)
    get_adapter().end_sessions([get_object_or_404(others, pk=pk)])
    messages.success(request, gettext("That browser is signed out."))
    return redirect("usersessions_list")


@login_required
@require_POST
def revoke_api_key(request: SignedInRequest, pk: int) -> HttpResponse:
    key = get_object_or_404(ApiKey, pk=pk, owner=request.user)
    with transaction.atomic():
        is_revoked = key.revoke()
        if is_revoked:
            record_path_token(request.user, Action.REVOKED, key)
    if is_revoked:
        messages.success(request, gettext("The key “{name}” no longer works.").format(name=key.name))
    return redirect("api-keys")


@never_cache
@require_http_methods(["GET", "POST"])
def create_first_administrator(request: HttpRequest, token: str) -> HttpResponse:
    if not first_administrator.is_valid(token):
        return render(request, "link_ended.html", {"reason": SETUP_ENDED}, status=404)
    form = FirstAdministratorForm(request.POST or None)
    if form.is_valid():
        user = first_administrator.create(form.cleaned_data["email"], form.cleaned_data["password1"])
        if user is None:
            raise Http404
        login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
        return redirect("welcome")
    return render(request, "setup.html", {"form": form})


@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Keep the language of `language` in a cookie and with the account; empty for that of the browser."""
    language = request.POST.get("language", "")
    response: HttpResponse = set_language(request)
    if language not in dict(settings.LANGUAGES):
        language = ""
        response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
    if request.user.is_authenticated:
        User.objects.filter(pk=request.user.pk).update(language=language)
    return response


@never_cache
@require_GET
def session(request: HttpRequest) -> HttpResponse:
    """Return the account that is signed in, and a CSRF token: for a page whose session or token has ended meanwhile."""
    account = str(request.user.pk) if request.user.is_authenticated else None
    return JsonResponse({"account": account, "csrf_token": get_token(request)})


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Return the response when a rate limit of allauth is exceeded. All of its limits are per minute."""
    response = render(request, "429.html", status=429)
    response.headers["Retry-After"] = "60"
    return response
