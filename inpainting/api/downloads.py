"""The pictures of a generation: for its owner, and results for whoever has a signed link."""

from __future__ import annotations

from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from accounts.models import Scope
from inpainting.api.documents import DOWNLOAD, PICTURE, THUMBNAIL, documented
from inpainting.api.files import FOR_EVERY_ORIGIN, OWNERS_ONLY, PictureView, picture_response
from inpainting.api.generations import own_generation
from inpainting.api.links import public_image


class GenerationSource(PictureView):
    required_scope = Scope.READ

    @documented("The picture as it was given", PICTURE, problems=(404, 410, 416))
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        return picture_response(request, own_generation(request, pk).source.file, OWNERS_ONLY)


class GenerationSourceThumbnail(PictureView):
    required_scope = Scope.READ

    @documented("Its thumbnail", THUMBNAIL, problems=(404, 410, 416))
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        return picture_response(request, own_generation(request, pk).source.thumbnail, OWNERS_ONLY)


class GenerationMask(PictureView):
    required_scope = Scope.READ

    @documented("The mask: white is repainted", PICTURE, problems=(404, 410, 416))
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        return picture_response(request, own_generation(request, pk).mask.file, OWNERS_ONLY)


class GenerationImage(PictureView):
    """A result; `?download` answers with a file name."""

    required_scope = Scope.READ

    @documented("A result", PICTURE, problems=(404, 410, 416), parameters=[DOWNLOAD])
    def get(self, request: Request, pk: UUID, index: int) -> HttpResponseBase:
        image = get_object_or_404(own_generation(request, pk).images, index=index)
        name = f"dreamlayer-{str(pk)[:8]}-{index}.png" if "download" in request.query_params else None
        return picture_response(request, image.file, OWNERS_ONLY, filename=name)


class GenerationImageThumbnail(PictureView):
    required_scope = Scope.READ

    @documented("A result's thumbnail", THUMBNAIL, problems=(404, 410, 416))
    def get(self, request: Request, pk: UUID, index: int) -> HttpResponseBase:
        image = get_object_or_404(own_generation(request, pk).images, index=index)
        return picture_response(request, image.thumbnail, OWNERS_ONLY)


class PublicImage(PictureView):
    """A result by its signed link: no key, any origin."""

    authentication_classes = ()
    permission_classes = ()

    @documented("A result, by its signed link", PICTURE, problems=(404, 410, 416), is_public=True)
    def get(self, request: Request, token: str) -> HttpResponseBase:
        image = public_image(token)
        if image is None:
            raise NotFound("Image not found", code="not_found")
        return picture_response(request, image.file, FOR_EVERY_ORIGIN)
