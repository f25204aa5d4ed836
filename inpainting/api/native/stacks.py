"""`/api/stacks/`: the steps of a photo, which lie over each other, and the image that they show together."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from django.core.files import File
from django.core.files.base import ContentFile
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.api.images import MASK, read_image
from inpainting.api.native.bodies import read_body
from inpainting.api.native.drafts import NOT_CACHED
from inpainting.api.native.generations import own_generation
from inpainting.api.native.pagination import read_query
from inpainting.api.native.schemas.stacks import (
    StackDocument,
    StackForm,
    StackImageQuery,
    StackQuery,
    StepMaskDocument,
    StepMaskFields,
    StepMaskForm,
    StepsForm,
)
from inpainting.api.native.uploads import read_sent_mask
from inpainting.api.openapi import DOWNLOAD, IMAGE, READING, RESULT, documented
from inpainting.api.parsers import JsonObjectParser, body_of
from inpainting.api.views import AnyBodyView, ImageView
from inpainting.core.codecs import encode_png
from inpainting.core.codecs.formats import EXTENSIONS, PNG, default_quality, encode_copy
from inpainting.core.masks import normalise
from inpainting.generations import stacks
from inpainting.generations.stack_images import flatten, stored_image
from inpainting.generations.stacks import PhotoStack
from inpainting.media.conversions import converting
from inpainting.media.files import OWNERS_ONLY, image_response
from inpainting.media.results import file_in_format
from inpainting.models import StepMask


def own_stack(request: Request, pk: UUID) -> PhotoStack:
    stack = stacks.find(request.user, pk)
    if stack is None:
        raise Http404
    return stack


def answer(stack: PhotoStack) -> Response:
    return Response(StackDocument.of(stack).model_dump(), headers=NOT_CACHED)


class GenerationStack(APIView):
    required_scope = Scope.READ

    @documented(
        "Get the steps that lead to a generation",
        {200: StackDocument},
        problems=(400, 404, 410),
        parameters=[StackQuery],
        name="generation_stack_retrieve",
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """The stored stack with this generation on top, or else the generations that it continues as steps."""
        generation, query = own_generation(request, pk), read_query(request, StackQuery)
        return answer(stacks.ending_in(request.user, generation, query.image))


class Stacks(APIView):
    required_scope = Scope.MANAGE
    parser_classes = (JsonObjectParser,)

    @documented(
        "Store the steps that lead to a generation",
        {200: StackDocument},
        problems=(*READING, 404, 410, 429),
        request=StackForm,
        name="stacks_create",
    )
    def post(self, request: Request) -> Response:
        """So that they can be changed. Where a stack with this generation on top is stored already, it is answered."""
        sent = StackForm.read(body_of(request))
        return answer(stacks.store(request.user, own_generation(request, sent.generation), sent.image))


class StackDetail(APIView):
    required_scope = {"GET": Scope.READ, "PATCH": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed
    parser_classes = (JsonObjectParser,)

    @documented("Get the steps of a photo", {200: StackDocument}, problems=(404,), name="stack_retrieve")
    def get(self, request: Request, pk: UUID) -> Response:
        return answer(own_stack(request, pk))

    @documented(
        "Change the steps of a photo",
        {200: StackDocument},
        problems=(*READING, 404, 409, 429),
        request=StepsForm,
        name="stack_partial_update",
    )
    def patch(self, request: Request, pk: UUID) -> Response:
        """Hides and shows steps, paints them back, adds, replaces and removes them. 409 `stack_changed` if its revision
        is no longer the one that was sent."""
        own_stack(request, pk)
        sent = StepsForm.read(body_of(request))
        changes = [step.change() for step in sent.steps]
        changed = stacks.change(request.user, pk, changes, revision=sent.revision)
        if changed is None:
            raise Http404
        return answer(changed)


class StackImage(ImageView):
    required_scope = Scope.READ

    @documented(
        "Get the image that the steps show together",
        RESULT,
        problems=(400, 404, 410, 416, 503),
        parameters=[DOWNLOAD, StackImageQuery],
        name="stack_image_retrieve",
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Where nothing is hidden or painted back, the highest step's result as it is stored."""
        stack, query = own_stack(request, pk), read_query(request, StackImageQuery)
        format = query.sent().get("format", PNG)
        if query.below is not None:
            stack = beneath(stack, query.below)
        name = f"dreamlayer-{str(pk)[:8]}.{EXTENSIONS[format]}" if "download" in request.query_params else None
        return image_response(request, file_of(stack, format), {**OWNERS_ONLY, **NOT_CACHED}, filename=name)


def beneath(stack: PhotoStack, generation: UUID) -> PhotoStack:
    """The same stack with the steps from this generation on hidden. Raises Http404 where it is no step."""
    place = next((place for place, step in enumerate(stack.steps) if step.generation.pk == generation), None)
    if place is None:
        raise Http404
    return stacks.without(stack, from_place=place)


def file_of(stack: PhotoStack, format: str) -> File:
    """The image of a stack in a format."""
    stored = stored_image(stack)
    if stored is not None:
        return file_in_format(stored, format)
    with converting():
        image = flatten(stack)
        if format == PNG:
            data = encode_png(image, metadata=image.metadata)
        else:
            data = encode_copy(image, format, default_quality(image.metadata), metadata=image.metadata).data
    name = hashlib.sha256("\n".join(stack.seen).encode()).hexdigest()
    return ContentFile(data, name=f"{name}.{EXTENSIONS[format]}")


class StackMasks(AnyBodyView):
    required_scope = Scope.MANAGE
    takes_images = True

    @documented(
        "Upload where a step is painted back",
        {200: StepMaskDocument},
        problems=(*READING, 404, 429, 503, 507),
        request={"multipart/form-data": StepMaskForm},
        name="stack_masks_create",
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """For the field `painted_back` of a step. It is kept for a day, and for as long as a step names it."""
        own_stack(request, pk)
        polarity = StepMaskFields.read(read_body(request).fields).mask_polarity
        image = read_image(read_sent_mask(request), MASK, request).image
        mask = normalise(image, polarity=polarity, size=image.size)
        stored = stacks.store_mask(request.user, mask)
        return Response(StepMaskDocument.of(pk, stored.pk).model_dump())


class StackMaskFile(ImageView):
    required_scope = Scope.READ

    @documented("Get where a step is painted back: white", IMAGE, problems=(404, 410, 416), name="stack_mask_retrieve")
    def get(self, request: Request, pk: UUID, mask: UUID) -> Any:
        own_stack(request, pk)
        stored = get_object_or_404(StepMask, owner=request.user, pk=mask)
        return image_response(request, stored.file, OWNERS_ONLY)
