"""`/api/masks/`: select an object by points on it or a box around it, and the masks that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.http import Http404
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.accounting.limits import LimitReached
from inpainting.api.analyses import accept
from inpainting.api.images import SentImage
from inpainting.api.native import analyses
from inpainting.api.native.bodies import Body, read_body
from inpainting.api.native.dialect import parse_prefer_header
from inpainting.api.native.mask_answers import location, selected_mask, selection_values, stored_candidate
from inpainting.api.native.pagination import PageQuery, read_query, render_page
from inpainting.api.native.requests import read_idempotency
from inpainting.api.native.schemas.analyses import PendingAnalysis
from inpainting.api.native.schemas.masks import MASKS, FoundMask, FoundMaskPage, MaskForm, SelectedMask
from inpainting.api.native.selections import selection_of
from inpainting.api.openapi import ACCEPTING, HOW_LONG, IMAGE, KEY, documented
from inpainting.api.recent_images import ReadImage, read_recent
from inpainting.api.selecting import needs_worker, select_here
from inpainting.api.views import AnyBodyView, ImageView
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.generations.analyses import AnalysisRequest
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.uploads import find_mask, masks_of, store_mask
from inpainting.media.files import OWNERS_ONLY, image_response
from inpainting.models import Analysis, UploadedImage
from inpainting.models.analysis import Task, mask_values, selection_to_dict
from inpainting.segmenters import registry
from inpainting.segmenters.base import Candidate, Segmenter, Selection

BY_ID = {"source": "generation-source", "picture": "draft-image"}
"""Fields with the id of an image of the user, and the routes of these images."""


class Masks(AnyBodyView):
    """Takes an image and where the object is. The mask is stored, unless `store` is false or nothing was found."""

    required_scope = {"GET": Scope.READ, "POST": Scope.GENERATE}  # noqa: RUF012 - read by DRF, never changed
    takes_images = True

    @documented(
        "List the masks that were found for you, newest first",
        {200: FoundMaskPage},
        problems=(400, 404),
        parameters=[PageQuery],
        name="masks_list",
    )
    def get(self, request: Request) -> Response:
        make = partial(FoundMask.of, request=request)
        return Response(render_page(FoundMaskPage, masks_of(request.user), read_query(request), request, make))

    @documented(
        "Select an object",
        {200: SelectedMask, 201: SelectedMask, 202: PendingAnalysis},
        problems=(*ACCEPTING, 500),
        request=MASKS,
        parameters=[HOW_LONG, KEY],
        name="masks_create",
    )
    def post(self, request: Request) -> HttpResponseBase:
        """201 with its Location where the mask was stored, otherwise 200; 202 where the request does not wait."""
        body = read_body(request)
        values, idempotency = MaskForm.read(body.fields).sent(), read_idempotency(request, body)
        if idempotency is None:
            return self.select(request, body, values, None)
        repeated = earlier_answer(request, idempotency, values["format"])
        if repeated is None:
            try:
                return self.select(request, body, values, idempotency)
            except (IntegrityError, LimitReached):
                repeated = earlier_answer(request, idempotency, values["format"])
                if repeated is None:
                    raise
        return repeated  # also of a concurrent request with the same key that was first

    def select(
        self, request: Request, body: Body, values: Mapping[str, Any], idempotency: Idempotency | None
    ) -> HttpResponseBase:
        segmenter = registry.find(values.get("segmenter", registry.DEFAULT))
        selection = selection_of(values)
        selection.check_for(segmenter)
        sent = read_sent_image(body, values)
        if needs_worker(segmenter) or "webhook_url" in values or parse_prefer_header(request)[0] == 0:
            read = read_recent(sent, request)
            keeps = idempotency is not None or "webhook_url" in values
            accepted = accept_analysis(request, segmenter, selection, values, read, idempotency, keeps=keeps)
            return analyses.answer(accepted, request, keeps=keeps)

        def render(candidates: Sequence[Candidate]) -> tuple[Candidate, dict[str, Any]]:
            return candidates[0], selection_values(candidates, segmenter.name, values["format"])

        best, found = select_here(segmenter, selection, sent, request, render)
        if not values["store"] or not found["area"]:
            return Response(selected_mask(found, None, request).model_dump())
        about = mask_values(best, segmenter.name)
        stored = store_mask(request.user, best.mask, about, idempotency=idempotency)
        return created_response(found, stored, request)


def created_response(values: Mapping[str, Any], stored: UploadedImage, request: Request) -> Response:
    """The answer about a mask that is stored. values: of `selection_values`."""
    return Response(selected_mask(values, stored, request).model_dump(), status=201, headers=location(stored))


def earlier_answer(request: Request, idempotency: Idempotency, form: str) -> HttpResponseBase | None:
    """The answer about the mask or the analysis that this key created earlier; None where it is new."""
    stored = idempotency.earlier_mask(request.user)
    if stored is not None:
        segmenter = (stored.found or {}).get("segmenter", "")
        return created_response(selection_values([stored_candidate(stored)], segmenter, form), stored, request)
    analysis = idempotency.earlier_analysis(request.user)
    return None if analysis is None else analyses.answer(analysis, request, keeps=True)


def accept_analysis(
    request: Request,
    segmenter: Segmenter,
    selection: Selection,
    values: Mapping[str, Any],
    read: ReadImage,
    idempotency: Idempotency | None,
    *,
    keeps: bool,
) -> Analysis:
    """Raises InvalidRequest for a selection outside the image, and what `submit_analysis` raises."""
    within = selection_to_dict(selection.within(read.image.size))
    wanted = AnalysisRequest(
        request.user,
        Task.SEGMENT,
        {**within, "format": values["format"]},
        segmenter=segmenter.name,
        stores_mask=values["store"],
        webhook_url=values.get("webhook_url", ""),
        ends_with_response=not keeps and parse_prefer_header(request)[0] is None,
    )
    return accept(wanted, read, idempotency=idempotency)


def own_mask(request: Request, pk: UUID) -> UploadedImage:
    found = find_mask(request.user, pk)
    if found is None:
        raise Http404
    return found


class MaskDetail(APIView):
    required_scope = {"GET": Scope.READ, "DELETE": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed

    @documented("Get a mask that was found", {200: FoundMask}, problems=(404,), name="masks_retrieve")
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(FoundMask.of(own_mask(request, pk), request).model_dump())

    @documented("Delete a mask that was found", {204: None}, problems=(404,), name="masks_destroy")
    def delete(self, request: Request, pk: UUID) -> Response:
        own_mask(request, pk).delete()
        return Response(status=204)


class MaskFile(ImageView):
    required_scope = Scope.READ

    @documented("Get the PNG of a mask: white is selected", IMAGE, problems=(404, 410, 416), name="masks_file")
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        return image_response(request, own_mask(request, pk).file, OWNERS_ONLY)


def read_sent_image(body: Body, values: Mapping[str, Any]) -> SentImage:
    """The field `image`, or the image whose id is sent. Raises InvalidRequest unless exactly one of them is sent."""
    image = body.image("image")
    named = [SentImage(name, reverse(route, args=[values[name]])) for name, route in BY_ID.items() if name in values]
    sent = [*named, *([] if image is None else [image])]
    if len(sent) != 1:
        raise InvalidRequest(sentence("Send one of image, source and picture."), code="field_missing", field="image")
    return sent[0]
