"""Base classes of views, for all dialects."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.http import QueryDict
from django.http.response import HttpResponseBase
from django.utils.datastructures import MultiValueDict
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.authentication import LocalAuthentication
from accounts.models import Scope
from inpainting.api.authentication import DialectKeyAuthentication
from inpainting.api.dialect import Dialect
from inpainting.api.dialects import dialect_at
from inpainting.api.errors import STOPPING, NotBuilt, api_error
from inpainting.api.idempotency import RepeatedRequest
from inpainting.api.later_response import LaterResponse, arrival_time, respond_later, stream_later
from inpainting.api.parsers import FormDataParser, JsonFormParser, UrlencodedParser
from inpainting.generations import history
from inpainting.generations.submit import submit
from inpainting.models import Generation, Status
from inpainting.worker import watchdog


class IgnoreAcceptNegotiation(DefaultContentNegotiation):
    """Never responds with 406: the view has one kind of response, regardless of the Accept header."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


# No docstrings on the next two: drf-spectacular would describe every operation below them so.
class AnyBodyView(APIView):  # reads JSON objects and forms
    parser_classes = (FormDataParser, UrlencodedParser, JsonFormParser)
    takes_images: ClassVar[bool] = False  # False: larger bodies than settings and ids need are refused unread


class ImageView(APIView):  # responds with an image, or with a JSON error, regardless of the Accept header
    content_negotiation_class = IgnoreAcceptNegotiation


class DialectView(AnyBodyView):
    """Base of the views of dialects other than the native one: for programs, so without sessions and their CSRF tokens.

    Narrow what is read with `as_view(parser_classes=…)`.
    """

    authentication_classes = (DialectKeyAuthentication, LocalAuthentication)
    content_negotiation_class = IgnoreAcceptNegotiation
    required_scope: Any = Scope.GENERATE
    schema = None  # The OpenAPI document describes the native API.

    @property
    def dialect(self) -> Dialect:
        dialect = dialect_at(self.request.path)
        if dialect is None:
            raise ImproperlyConfigured(f"{self.request.path} lies below no prefix of a dialect.")
        return dialect


class KeyedView(DialectView):
    """No request is accepted without a key, also with DREAMLAYER_ANONYMOUS_API."""

    authentication_classes: Any = (DialectKeyAuthentication,)


class MissingView(DialectView):
    """`POST`: 501, for a route of the service that is not built. why: says so."""

    takes_images = True  # so that a large image is answered with the reason
    why: ClassVar[str] = ""

    def post(self, request: Request, **names: str) -> HttpResponseBase:
        raise NotBuilt(self.why)


class InpaintView(DialectView):
    """`POST`: parse, submit, wait and render, as the dialect of the path does each."""

    takes_images = True

    def post(self, request: Request, **names: str) -> HttpResponseBase:
        """names: parts of the path, which `Dialect.parse` reads with `name_in_path`."""
        return inpaint(self.dialect, request)


def inpaint(dialect: Dialect, request: Request) -> HttpResponseBase:
    """Parse, submit, wait and render: the one way from a request to its response."""
    arrived_at = arrival_time(request)
    abandon = None
    try:
        idempotency = dialect.read_idempotency(request)
        inpaint_request, submission = dialect.parse(request)
    except RepeatedRequest as repeated:
        generation = repeated.generation
        history.refuse_removed(generation)
    else:
        sent = tuple(name for name in dialect.settings_by_field if name in submission.sent_fields)
        idempotency = idempotency or submission.idempotency
        accepted = replace(
            submission, owner=request.user, service=dialect.name, sent_fields=sent, idempotency=idempotency
        )
        generation = submit(inpaint_request, accepted)
        if dialect.cancels_on_disconnect and idempotency is None:
            abandon = generation.cancel
    max_wait_seconds, events = dialect.max_wait_seconds(request), dialect.events(generation, request)
    drop_body(request)
    if events is not None:
        return stream_later(events, request)
    if max_wait_seconds is not None:
        max_wait_seconds = max(0.0, arrived_at + max_wait_seconds - time.monotonic())
    if max_wait_seconds == 0:
        return dialect.response(generation, request)
    render = partial(render_current, dialect, request, generation.pk)
    return respond_later(LaterResponse(generation.pk, max_wait_seconds, render, abandon), request)


def drop_body(request: Request) -> None:
    """Forget the body: its images would stay in memory for as long as the response waits."""
    http = request._request
    http.close()
    empty: dict[str, Any] = {"_files": MultiValueDict(), "_data": QueryDict(), "_full_data": QueryDict()}
    vars(request).update(empty)
    vars(http).update(_post=QueryDict(), _files=MultiValueDict())


def render_current(dialect: Dialect, request: Request, pk: UUID) -> HttpResponseBase:
    """The response for the generation as it is now; for a deleted one that of a cancelled one."""
    try:
        generation = Generation.objects.filter(pk=pk).first() or Generation(pk=pk, status=Status.CANCELLED)
        history.refuse_removed(generation)
        if watchdog.stopping.is_set() and not generation.has_ended and not dialect.answers_before_the_end:
            return dialect.render_error(STOPPING)
        return dialect.response(generation, request)
    except Exception as error:
        return dialect.render_error(api_error(error))
