"""`/api/masks/`: select an object by points on it or a box around it, and the masks that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from django.http import Http404
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.api.concurrency_limits import computing, limit_segmentations
from inpainting.api.native.bodies import Body, read_body
from inpainting.api.native.mask_objects import encode_mask
from inpainting.api.native.pagination import PageQuery, read_query, render_page
from inpainting.api.native.recent_pictures import read_recent
from inpainting.api.native.requests import read_idempotency
from inpainting.api.native.schemas.masks import MASKS, FoundMask, FoundMaskPage, MaskForm, SelectedMask, selection_of
from inpainting.api.openapi import KEY, PICTURE, READING, documented
from inpainting.api.pictures import SentPicture
from inpainting.api.views import AnyBodyView, PictureView
from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.picture import Mask
from inpainting.generations.uploads import find_mask, masks_of, store_mask
from inpainting.media.files import OWNERS_ONLY, PictureGone, picture_response
from inpainting.models import UploadedPicture
from inpainting.models.pictures import grey_pixels
from inpainting.segmenters import registry
from inpainting.segmenters.base import Candidate, candidates_of, load_model_of

BY_ID = {"source": "generation-source", "picture": "draft-picture"}
"""Fields with the id of a picture of the user, and the routes of these pictures."""


class Masks(AnyBodyView):
    """Takes a picture and where the object is. The mask is stored, unless `store` is false or nothing was found."""

    required_scope = {"GET": Scope.READ, "POST": Scope.GENERATE}  # noqa: RUF012 - read by DRF, never changed
    takes_pictures = True

    @documented(
        "List the masks that were found for you, newest first",
        {200: FoundMaskPage},
        problems=(400, 404),
        parameters=[PageQuery],
        name="masks_list",
    )
    def get(self, request: Request) -> Response:
        return Response(render_page(FoundMaskPage, masks_of(request.user), read_query(request), request))

    @documented(
        "Select an object",
        {200: SelectedMask, 201: SelectedMask},
        problems=(*READING, 409, 422, 429, 503, 507),
        request=MASKS,
        parameters=[KEY],
        name="masks_create",
    )
    def post(self, request: Request) -> Response:
        """201 with its Location where the mask was stored, otherwise 200."""
        body = read_body(request)
        form = MaskForm(data=body.fields)
        form.is_valid(raise_exception=True)
        values, idempotency = form.validated_data, read_idempotency(request, body)
        stored = idempotency.earlier_mask(request.user) if idempotency else None
        if stored is not None:
            found = stored.found or {}
            earlier = Candidate(pixels_of(stored), found.get("score"))
            return created(selected([earlier], found.get("segmenter", ""), values["format"]), stored, request)
        segmenter = registry.find(values.get("segmenter", registry.DEFAULT))
        selection = selection_of(values)
        selection.check_for(segmenter)
        with limit_segmentations(request.user):
            picture = read_recent(sent_image(body, values), request)
            load_model_of(segmenter)
            with computing():
                candidates = candidates_of(segmenter, picture, selection)
                found = selected(candidates, segmenter.name, values["format"])
            if not values["store"] or not found["area"]:
                return Response(SelectedMask.render(found))
            kept = {name: found[name] for name in ("segmenter", "box", "area", "score")}
            stored = store_mask(request.user, candidates[0].mask, kept, idempotency=idempotency)
        return created(found, stored, request)


def created(values: Mapping[str, Any], stored: UploadedPicture, request: Request) -> Response:
    """The answer about a mask that is stored. values: of `selected`."""
    body = SelectedMask.render({**FoundMask.render(stored, request=request), **values})
    return Response(body, status=201, headers={"Location": reverse("mask", args=[stored.pk])})


def pixels_of(stored: UploadedPicture) -> Mask:
    try:
        return grey_pixels(stored.read())
    except FileNotFoundError as error:
        raise PictureGone from error


def own_mask(request: Request, pk: UUID) -> UploadedPicture:
    found = find_mask(request.user, pk)
    if found is None:
        raise Http404
    return found


class MaskDetail(APIView):
    required_scope = {"GET": Scope.READ, "DELETE": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed

    @documented("Get a mask that was found", {200: FoundMask}, problems=(404,), name="masks_retrieve")
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(FoundMask.render(own_mask(request, pk), request=request))

    @documented("Delete a mask that was found", {204: None}, problems=(404,), name="masks_destroy")
    def delete(self, request: Request, pk: UUID) -> Response:
        own_mask(request, pk).delete()
        return Response(status=204)


class MaskFile(PictureView):
    required_scope = Scope.READ

    @documented("Get the PNG of a mask: white is selected", PICTURE, problems=(404, 410, 416), name="masks_file")
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        return picture_response(request, own_mask(request, pk).file, OWNERS_ONLY)


def sent_image(body: Body, values: Mapping[str, Any]) -> SentPicture:
    """The field `image`, or the picture whose id is sent. Raises InvalidRequest unless exactly one of them is sent."""
    image = body.picture("image")
    named = [SentPicture(name, reverse(route, args=[values[name]])) for name, route in BY_ID.items() if name in values]
    sent = [*named, *([] if image is None else [image])]
    if len(sent) != 1:
        raise InvalidRequest("Send one of image, source and picture.", code="field_missing", field="image")
    return sent[0]


def selected(candidates: Sequence[Candidate], segmenter: str, form: str) -> dict[str, Any]:
    """The values of a SelectedMask that is not stored: of the first candidate, and the others beside it."""
    best, *others = ({**answer(one.mask, form), "score": one.score} for one in candidates)
    return {**best, "segmenter": segmenter, "candidates": others}


def answer(mask: Mask, form: str) -> dict[str, Any]:
    """The values of an answer with a mask in this format, a MaskFormat."""
    box = masks.bounds(mask)
    return {
        "mask": encode_mask(mask, form),
        "box": None if box is None else [box.left, box.top, box.right, box.bottom],
        "area": int(np.count_nonzero(mask)),
        "width": mask.shape[1],
        "height": mask.shape[0],
    }
