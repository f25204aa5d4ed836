"""Middleware: the list of a user's sessions, and pages with secrets."""

from __future__ import annotations

import time

from allauth.usersessions.models import UserSession
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django.utils.deprecation import MiddlewareMixin

from accounts.locks import write_unless_locked

ACTIVITY_SECONDS = 300
SEEN_AT = "accounts.seen_at"
"""Key of the session: when its row in the list was last updated, in seconds since 1970."""


class AccountPagesMiddleware(MiddlewareMixin):
    """Keeps allauth's pages out of caches: the Back button must not show secrets and codes after signing out."""

    async_capable = False
    """The innermost middleware. All outside of it that can be synchronous then run in the thread of the view: otherwise
    Django passes each request to that thread and back for each method of each middleware."""

    def process_template_response(self, request: HttpRequest, response: TemplateResponse) -> TemplateResponse:
        if request.path_info.startswith("/accounts/"):
            add_never_cache_headers(response)
        return response


class SessionActivityMiddleware(MiddlewareMixin):
    """Updates a session's row in the list of sessions at most every ACTIVITY_SECONDS.

    allauth's own middleware writes to the database with each request. While the database cannot be written, pages are
    shown without it.
    """

    def process_request(self, request: HttpRequest) -> None:
        if request.session.session_key is None or not request.user.is_authenticated:
            return
        now = int(time.time())
        if now - request.session.get(SEEN_AT, 0) < ACTIVITY_SECONDS:
            return
        if write_unless_locked(lambda: UserSession.objects.create_from_request(request)):
            request.session[SEEN_AT] = now
