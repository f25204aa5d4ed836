"""`/api/analyses/`: what a worker selects or describes in an image, while it waits, runs and after it has ended."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.http import Http404
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.api.analyses import answer_later
from inpainting.api.dialect import json_response
from inpainting.api.errors import Conflict
from inpainting.api.native.dialect import DIALECT, parse_prefer_header
from inpainting.api.native.mask_answers import location, masks_found_by
from inpainting.api.native.schemas.analyses import AnalysisDocument, PendingAnalysis
from inpainting.api.openapi import documented
from inpainting.core.sentences import sentence
from inpainting.generations.analyses import delete_analysis, find_analysis
from inpainting.models import Analysis


def answer(analysis: Analysis, request: Request, *, keeps: bool) -> HttpResponseBase:
    """The response to a request that was accepted as an analysis: 202, or as the Prefer header says what was found.

    keeps: see `answer_later`.
    """
    max_wait_seconds, applied = parse_prefer_header(request)
    if max_wait_seconds == 0:
        return pending_response(analysis, applied=applied)
    return answer_later(
        analysis,
        request,
        DIALECT,
        partial(result_response, request=request),
        max_wait_seconds=max_wait_seconds,
        keeps=keeps,
        render_pending=partial(pending_response, applied=applied),
    )


def pending_response(analysis: Analysis, *, applied: str) -> HttpResponseBase:
    headers = {"Location": reverse("analysis", args=[analysis.pk]), "Preference-Applied": applied}
    return json_response(PendingAnalysis.of(analysis).model_dump(), status=202, headers=headers)


def result_response(analysis: Analysis, *, request: Request) -> HttpResponseBase:
    status = 200 if analysis.mask is None else 201
    return json_response(masks_found_by(analysis, request).model_dump(), status=status, headers=location(analysis.mask))


def own_analysis(request: Request, pk: UUID) -> Analysis:
    analysis = find_analysis(request.user, pk)
    if analysis is None:
        raise Http404
    return analysis


class AnalysisDetail(APIView):
    required_scope = {"GET": Scope.READ, "DELETE": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed

    @documented(
        "Get an analysis and what it has found", {200: AnalysisDocument}, problems=(404, 410), name="analyses_retrieve"
    )
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(AnalysisDocument.of(own_analysis(request, pk), request).model_dump())

    @documented("Delete an analysis", {204: None}, problems=(404, 409), name="analyses_destroy")
    def delete(self, request: Request, pk: UUID) -> Response:
        """A running analysis is cancelled first, with status 409 until it has ended. A stored mask stays."""
        if not delete_analysis(own_analysis(request, pk)):
            message = sentence("This analysis still runs. It is being cancelled; delete it again once it has ended.")
            raise Conflict(message, code="still_running")
        return Response(status=204)


class AnalysisCancel(APIView):
    required_scope = Scope.GENERATE

    @documented("Cancel an analysis", {200: AnalysisDocument}, problems=(404, 409), name="analyses_cancel")
    def post(self, request: Request, pk: UUID) -> Response:
        analysis = own_analysis(request, pk)
        if not analysis.cancel():
            raise Conflict(sentence("This analysis has ended already."), code="already_ended")
        return Response(AnalysisDocument.of(analysis, request).model_dump())
