"""`/api/batches/`: many images in one request, to follow, cancel, retry, download and delete together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.http import Http404
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.api.errors import Conflict
from inpainting.api.native.batch_requests import accept_batch, accept_upscale_batch
from inpainting.api.native.pagination import PageQuery, read_query, render_page
from inpainting.api.native.schemas.batches import (
    BatchAcceptedDocument,
    BatchDocument,
    BatchPageDocument,
    BatchRetriedDocument,
    WholeBatchDocument,
)
from inpainting.api.native.schemas.bodies import BATCH
from inpainting.api.native.schemas.upscale import UPSCALE_BATCH
from inpainting.api.openapi import ACCEPTING, KEY, documented
from inpainting.api.views import AnyBodyView, ImageView
from inpainting.core.codecs.formats import EXTENSIONS, PNG
from inpainting.core.sentences import sentence
from inpainting.generations import batches
from inpainting.media.archives import ArchiveEntry, ArchiveNames, zip_response
from inpainting.models import Batch, Status


def own_batch(request: Request, pk: UUID) -> Batch:
    batch = batches.find(request.user, pk)
    if batch is None:
        raise Http404
    return batch


class BatchList(AnyBodyView):
    required_scope = {"GET": Scope.READ, "POST": Scope.GENERATE}  # noqa: RUF012 - read by DRF, never changed
    takes_images = True

    @documented(
        "List your batches, newest first",
        {200: BatchPageDocument},
        problems=(400, 404),
        parameters=[PageQuery],
        name="batches_list",
    )
    def get(self, request: Request) -> Response:
        return Response(
            render_page(
                BatchPageDocument, batches.for_user(request.user), read_query(request), request, BatchDocument.of
            )
        )

    @documented(
        "Inpaint many images",
        {202: BatchAcceptedDocument},
        problems=ACCEPTING,
        request=BATCH,
        parameters=[KEY],
    )
    def post(self, request: Request) -> Response:
        """Each image becomes a generation of its own. An invalid image is an item of status `refused`, as is each image
        after one of your limits is reached. The whole request is refused, and nothing kept, if a field is invalid or no
        image can be accepted."""
        batch = accept_batch(request)
        return Response(BatchAcceptedDocument.of(own_batch(request, batch.pk)).model_dump(), status=202)


class UpscaleBatch(AnyBodyView):
    required_scope = Scope.GENERATE
    takes_images = True

    @documented(
        "Enlarge many images",
        {202: BatchAcceptedDocument},
        problems=ACCEPTING,
        request=UPSCALE_BATCH,
        parameters=[KEY],
    )
    def post(self, request: Request) -> Response:
        """Each image becomes a generation of its own, as those of `POST /api/batches/`."""
        batch = accept_upscale_batch(request)
        return Response(BatchAcceptedDocument.of(own_batch(request, batch.pk)).model_dump(), status=202)


class BatchDetail(APIView):
    required_scope = {"GET": Scope.READ, "DELETE": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed

    @documented("Get a batch", {200: WholeBatchDocument}, problems=(404,))
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(WholeBatchDocument.of(own_batch(request, pk)).model_dump())

    @documented("Delete a batch with its generations and their images", {204: None}, problems=(404, 409))
    def delete(self, request: Request, pk: UUID) -> Response:
        """Includes retried generations. Running ones are cancelled first, with status 409 until they have ended."""
        if not batches.delete_batch(own_batch(request, pk)):
            raise Conflict(
                sentence(
                    "Something of this batch still runs. It is being cancelled; "
                    "delete the batch again once it has ended."
                ),
                code="still_running",
            )
        return Response(status=204)


class BatchCancel(APIView):
    required_scope = Scope.GENERATE

    @documented("Cancel the waiting and running generations of a batch", {200: WholeBatchDocument}, problems=(404, 409))
    def post(self, request: Request, pk: UUID) -> Response:
        if not batches.cancel(own_batch(request, pk)):
            raise Conflict(sentence("Everything in this batch has ended already."), code="already_ended")
        return Response(WholeBatchDocument.of(own_batch(request, pk)).model_dump())


class BatchRetry(APIView):
    required_scope = Scope.GENERATE

    @documented(
        "Retry the failed and cancelled generations of a batch",
        {202: BatchRetriedDocument},
        problems=(400, 404, 409, 429, 503, 507),
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Each becomes a new generation in the place of the item. Refused items need a new image, in a new batch."""
        outcome = batches.retry(own_batch(request, pk))
        if not outcome.accepted:
            raise Conflict(
                sentence("Nothing in this batch failed or was cancelled. Send refused images again in a new batch."),
                code="nothing_to_retry",
            )
        return Response(BatchRetriedDocument.of_retry(own_batch(request, pk), outcome).model_dump(), status=202)


class BatchResults(ImageView):
    """The results so far, under the names of their source files, and a manifest.json."""

    required_scope = Scope.READ

    @documented(
        "Download the results of a batch as a ZIP",
        {(200, "application/zip"): OpenApiTypes.BINARY},
        problems=(404, 409),
        name="batches_results",
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        batch = own_batch(request, pk)
        entries = list(archive_entries(batch))
        if not entries:
            raise Conflict(sentence("Nothing in this batch has succeeded yet."), code="nothing_succeeded")
        manifest = WholeBatchDocument.of(batch).model_dump()
        filename = f"dreamlayer-batch-{str(pk)[:8]}.zip"
        return zip_response(entries, manifest, made_at=batch.created_at, filename=filename)


def archive_entries(batch: Batch) -> Iterator[ArchiveEntry]:
    names = ArchiveNames("manifest.json")
    for item in batch.items.all():
        generation = item.generation
        if generation is None or item.state != Status.SUCCEEDED:
            continue
        for image in generation.images.all():
            about: dict[str, Any] = {
                "item": item.index,
                "generation": generation.pk,
                "image": image.index,
                "sha256": image.copy_sha256 or image.sha256,
                "lossy": image.format != PNG,
                "outside_mask_changed_pixels": image.outside_mask_changed_pixels,
            }
            fallback, extension = f"image-{item.index + 1:03}", EXTENSIONS[image.format]
            name = names.unique(item.name, fallback=fallback, extension=extension)
            yield ArchiveEntry(name, image.delivered, about)
