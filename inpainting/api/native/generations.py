"""`/api/generations/`: find, read, cancel, delete and run again the caller's generations."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.api.errors import Conflict
from inpainting.api.native.bodies import Body, read_body
from inpainting.api.native.conditioning_images import conditioning_images_in
from inpainting.api.native.dialect import pending_answer
from inpainting.api.native.fields import ChangesForm, check_fields, remove_empty, settings_from
from inpainting.api.native.pagination import read_query, render_page
from inpainting.api.native.requests import read_idempotency
from inpainting.api.native.schemas.bodies import CHANGES
from inpainting.api.native.schemas.generations import GenerationDocument, PageDocument, Pending, WholeGenerationDocument
from inpainting.api.native.search import HistoryQuery, is_everything, search
from inpainting.api.openapi import ACCEPTING, KEY, documented
from inpainting.api.views import AnyBodyView
from inpainting.catalog.lookup import Catalog
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.inputs import prepare_conditioning_images
from inpainting.core.outpainting import OUTPAINT_ROWS
from inpainting.core.sentences import sentence
from inpainting.engines import registry
from inpainting.generations import history
from inpainting.generations.delete import delete
from inpainting.generations.submit import Submission, submit
from inpainting.models import Generation
from inpainting.worker.run_time_estimates import queue_position


def own_generation(request: Request, pk: UUID) -> Generation:
    generation = history.find(request.user, pk)
    if generation is None:
        raise Http404
    return generation


def whole_generation(request: Request, pk: UUID) -> dict[str, Any]:
    generation = own_generation(request, pk)
    return WholeGenerationDocument.of(generation, place=queue_position(generation)).model_dump()


class GenerationList(APIView):
    required_scope = Scope.READ

    @documented(
        "List your generations, newest first",
        {200: PageDocument},
        problems=(400, 404),
        parameters=[HistoryQuery],
        name="generations_list",
    )
    def get(self, request: Request) -> Response:
        query = read_query(request, HistoryQuery)
        found = search(history.of_all_users(), query, owner=request.user.pk)
        count = history.count_of(request.user) if is_everything(query) else None
        return Response(render_page(PageDocument, found, query, request, GenerationDocument.of, count=count))


class GenerationDetail(APIView):
    required_scope = {"GET": Scope.READ, "DELETE": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed

    @documented("Get a generation", {200: WholeGenerationDocument}, problems=(404, 410))
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(whole_generation(request, pk))

    @documented("Delete a generation and its images", {204: None}, problems=(404, 409, 410))
    def delete(self, request: Request, pk: UUID) -> Response:
        """A running generation is cancelled first, with status 409 until it has ended."""
        if not delete(own_generation(request, pk)):
            raise Conflict(
                sentence("This generation still runs. It is being cancelled; delete it again once it has ended."),
                code="still_running",
            )
        return Response(status=204)


class GenerationCancel(APIView):
    required_scope = Scope.GENERATE

    @documented("Cancel a generation", {200: WholeGenerationDocument}, problems=(404, 409, 410))
    def post(self, request: Request, pk: UUID) -> Response:
        generation = own_generation(request, pk)
        if not generation.cancel():
            raise Conflict(sentence("This generation has ended already."), code="already_ended")
        return Response(whole_generation(request, pk))


class GenerationRunAgain(AnyBodyView):
    """Creates a generation with the same image, canvas and mask, the settings that are sent, and the others as before.

    Settings that were not requested, such as the engine, the steps or the seed, are chosen again. Control images and
    IP-Adapter images are used again unless others are sent. `control` and its numbers change the first entry of
    `controls`, and `ip_adapter` that of `ip_adapters`. A field sent empty (null in JSON, an empty field in a form)
    and a model of `auto` reset the setting to its default.

    The webhook_url is not used again; send it to be called.
    """

    required_scope = Scope.GENERATE
    takes_images = True

    @documented(
        "Run a generation again, with changes",
        {202: Pending},
        problems=(*ACCEPTING, 404, 410),
        request=CHANGES,
        parameters=[KEY],
    )
    def post(self, request: Request, pk: UUID) -> Response:
        generation, body = own_generation(request, pk), read_body(request)
        idempotency = read_idempotency(request, body)
        earlier = idempotency.earlier(request.user) if idempotency else None
        if earlier is not None:
            return Response(pending_answer(earlier), status=202)
        refuse_outpainting(body)
        catalog = Catalog()
        values, warnings = check_fields(ChangesForm, body.fields, catalog, clamp=False)
        size = Size(generation.source.width, generation.source.height)
        references, notes = prepare_conditioning_images(conditioning_images_in(body, request), size)
        former = generation.requested_settings
        no_longer = {name: None for name in CONDITIONING_IMAGES if name in body.empty}
        settings = settings_from(values, catalog, remove_empty(former.settings, body.empty))
        submission = Submission(
            request.user,
            engine=values.get("engine", registry.AUTO if "engine" in body.empty else former.engine),
            source_name=generation.source.name,
            warnings=[*warnings, *notes],
            webhook_url=values.get("webhook_url", ""),
            parent=generation,
            idempotency=idempotency,
            catalog=catalog,
        )
        changed = generation.to_request(settings, {**no_longer, **references})
        again = submit(changed, submission)
        return Response(pending_answer(again), status=202)


def refuse_outpainting(body: Body) -> None:
    """Raise InvalidRequest for fields of outpainting: the stored image is the whole canvas."""
    for row in OUTPAINT_ROWS:
        if row.public_name in body.fields:
            raise InvalidRequest(
                sentence(
                    "Running again keeps the size of the result. "
                    "To outpaint differently, send the image as a new request."
                ),
                field=row.public_name,
            )
