"""`/api/generations/<id>/`: one generation, for its owner."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inpainting.api.errors import Conflict
from inpainting.api.files import FOR_EVERY_ORIGIN, OWNERS_ONLY, picture_response
from inpainting.api.links import public_image
from inpainting.api.native import metadata
from inpainting.generations import history
from inpainting.models import Generation
from inpainting.realtime import events


def own_generation(request: Request, pk: UUID) -> Generation:
    generation = history.find(request.user, pk)
    if generation is None:
        raise Http404
    return generation


def rendered(generation: Generation) -> dict[str, Any]:
    """The generation as JSON."""
    return {
        "id": str(generation.pk),
        "status": generation.status,
        "engine": generation.engine,
        "prompt": generation.prompt,
        "created_at": generation.created_at,
        "started_at": generation.started_at,
        "finished_at": generation.finished_at,
        "seconds": generation.seconds,
        "progress": events.progress(generation.step, generation.steps) if generation.steps else None,
        "source": reverse("generation-source", args=[generation.pk]),
        "mask": reverse("generation-mask", args=[generation.pk]),
        "images": [
            {
                "url": reverse("generation-image", args=[generation.pk, image.index]),
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "outside_mask_changed_pixels": image.outside_mask_changed_pixels,
                "seam_score": image.seam_score,
            }
            for image in generation.images.all()
        ],
        "error": {"code": generation.error_code, "message": generation.error_message}
        if generation.error_code
        else None,
        "metadata": metadata(generation),
    }


class GenerationDetail(APIView):
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(rendered(own_generation(request, pk)))


class GenerationCancel(APIView):
    def post(self, request: Request, pk: UUID) -> Response:
        generation = own_generation(request, pk)
        if not generation.cancel():
            raise Conflict("This generation has ended already.", code="already_ended")
        return Response(rendered(own_generation(request, pk)))


class GenerationSource(APIView):
    def get(self, request: Request, pk: UUID) -> HttpResponse:
        return picture_response(own_generation(request, pk).source.file, OWNERS_ONLY)


class GenerationSourceThumbnail(APIView):
    def get(self, request: Request, pk: UUID) -> HttpResponse:
        return picture_response(own_generation(request, pk).source.thumbnail, OWNERS_ONLY)


class GenerationMask(APIView):
    def get(self, request: Request, pk: UUID) -> HttpResponse:
        return picture_response(own_generation(request, pk).mask.file, OWNERS_ONLY)


class GenerationImage(APIView):
    """A result; `?download` answers with a file name."""

    def get(self, request: Request, pk: UUID, index: int) -> HttpResponse:
        image = get_object_or_404(own_generation(request, pk).images, index=index)
        name = f"dreamlayer-{str(pk)[:8]}-{index}.png" if "download" in request.query_params else None
        return picture_response(image.file, OWNERS_ONLY, filename=name)


class GenerationImageThumbnail(APIView):
    def get(self, request: Request, pk: UUID, index: int) -> HttpResponse:
        image = get_object_or_404(own_generation(request, pk).images, index=index)
        return picture_response(image.thumbnail, OWNERS_ONLY)


class PublicImage(APIView):
    """A result by its signed link: no key, any origin."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request, token: str) -> HttpResponse:
        image = public_image(token)
        if image is None:
            raise Http404
        return picture_response(image.file, FOR_EVERY_ORIGIN)
