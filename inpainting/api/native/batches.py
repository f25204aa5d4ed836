"""`/api/batches/`: many pictures in one call, to follow, cancel, retry, download and delete together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.http import Http404
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.api.errors import Conflict
from inpainting.api.media.archives import Entry, Names, zip_response
from inpainting.api.media.downloads import PictureView
from inpainting.api.native.batch_answers import (
    BATCH,
    BatchAcceptedDocument,
    BatchPageDocument,
    BatchRetriedDocument,
    WholeBatchDocument,
    accepted,
    rendered,
    rendered_whole,
    retried,
)
from inpainting.api.native.batch_requests import accept_batch
from inpainting.api.native.documents import ACCEPTING, KEY, documented
from inpainting.api.native.search import MOST_A_PAGE, MOST_PAGES, paged
from inpainting.api.views import AnyBodyView
from inpainting.generations import batches
from inpainting.models import Batch, Status


class Pages(serializers.Serializer):
    page = serializers.IntegerField(default=1, min_value=1, max_value=MOST_PAGES)
    page_size = serializers.IntegerField(default=24, min_value=1, max_value=MOST_A_PAGE)


def own_batch(request: Request, pk: UUID) -> Batch:
    batch = batches.find(request.user, pk)
    if batch is None:
        raise Http404
    return batch


class BatchList(AnyBodyView):
    required_scope = {"GET": Scope.READ, "POST": Scope.GENERATE}  # noqa: RUF012 - DRF reads such attributes, nobody writes

    @documented(
        "One's batches, newest first",
        {200: BatchPageDocument},
        problems=(400, 404),
        parameters=[Pages],
        name="batches_list",
    )
    def get(self, request: Request) -> Response:
        asked = Pages(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Response(paged(batches.of(request.user), asked.validated_data, request, rendered))

    @documented(
        "Repaint the masked part of many pictures",
        {202: BatchAcceptedDocument},
        problems=ACCEPTING,
        request=BATCH,
        parameters=[KEY],
    )
    def post(self, request: Request) -> Response:
        """Each picture becomes a generation of its own. One that cannot be accepted is an item of status `refused`, and
        so are all from the one on that is over a limit of yours; where nothing can be accepted, or something is wrong
        with the fields, the whole call is refused and nothing is kept."""
        batch = accept_batch(request)
        return Response(accepted(own_batch(request, batch.pk)), status=202)


class BatchDetail(APIView):
    required_scope = {"GET": Scope.READ, "DELETE": Scope.MANAGE}  # noqa: RUF012 - DRF reads such attributes, nobody writes

    @documented("One batch", {200: WholeBatchDocument}, problems=(404,))
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(rendered_whole(own_batch(request, pk)))

    @documented("Delete it with its generations and their pictures", {204: None}, problems=(404, 409))
    def delete(self, request: Request, pk: UUID) -> Response:
        """What was retried goes too. While something runs, all of it is being cancelled: 409 until that has ended."""
        if not batches.delete_batch(own_batch(request, pk)):
            raise Conflict(
                "Something of this batch still runs. It is being cancelled; delete the batch again once it has ended.",
                code="still_running",
            )
        return Response(status=204)


class BatchCancel(APIView):
    required_scope = Scope.GENERATE

    @documented("Cancel what waits or runs of it", {200: WholeBatchDocument}, problems=(404, 409))
    def post(self, request: Request, pk: UUID) -> Response:
        if not batches.cancel(own_batch(request, pk)):
            raise Conflict("Everything in this batch has ended already.", code="already_ended")
        return Response(rendered_whole(own_batch(request, pk)))


class BatchRetry(APIView):
    required_scope = Scope.GENERATE

    @documented(
        "Run what failed or was cancelled again",
        {202: BatchRetriedDocument},
        problems=(400, 404, 409, 429, 503, 507),
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Each as a new generation, which takes the item's place. What was refused needs a new picture."""
        outcome = batches.retry(own_batch(request, pk))
        if not outcome.accepted:
            raise Conflict(
                "Nothing in this batch failed or was cancelled. What was refused needs a new picture, in a new batch.",
                code="nothing_to_retry",
            )
        return Response(retried(own_batch(request, pk), outcome), status=202)


class BatchResults(PictureView):
    """What has succeeded so far, under the names of the sources, and a manifest.json that says which is which."""

    required_scope = Scope.READ

    @documented(
        "Its results as a ZIP",
        {(200, "application/zip"): OpenApiTypes.BINARY},
        problems=(404, 409),
        name="batches_results",
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        batch = own_batch(request, pk)
        entries = list(entries_of(batch))
        if not entries:
            raise Conflict("Nothing in this batch has succeeded yet.", code="nothing_succeeded")
        about = rendered_whole(batch)
        filename = f"dreamlayer-batch-{str(pk)[:8]}.zip"
        return zip_response(entries, about, made_at=batch.created_at, filename=filename)


def entries_of(batch: Batch) -> Iterator[Entry]:
    names = Names("manifest.json")
    for item in batch.items.all():
        generation = item.generation
        if generation is None or generation.status != Status.SUCCEEDED:
            continue
        for image in generation.images.all():
            about: dict[str, Any] = {
                "item": item.index,
                "generation": generation.pk,
                "image": image.index,
                "sha256": image.sha256,
                "outside_mask_changed_pixels": image.outside_mask_changed_pixels,
            }
            name = names.unique(item.name, otherwise=f"picture-{item.index + 1:03}")
            yield Entry(name, image.file, about)
