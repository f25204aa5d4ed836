"""The images of a generation: for its owner, and the results by signed links."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls.converters import StringConverter
from drf_spectacular.utils import OpenApiParameter, extend_schema_view
from pydantic import Field
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from accounts.models import Scope
from inpainting.api.fields import Fields, extended_by
from inpainting.api.media.links import public_image
from inpainting.api.native.generations import own_generation
from inpainting.api.native.pagination import read_query
from inpainting.api.openapi import DOWNLOAD, IMAGE, RESULT, THUMBNAIL, documented
from inpainting.api.setting_types import Boolean, type_of
from inpainting.api.views import ImageView
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.codecs.formats import EXTENSIONS, FORMATS_BY_EXTENSION, PNG
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.core.settings_table import find_setting
from inpainting.media.files import FOR_EVERY_ORIGIN, OWNERS_ONLY, image_response, linked_image_response
from inpainting.media.previews import preview_of, thumbnail_of
from inpainting.media.results import file_in_format, file_with_settings
from inpainting.models import GeneratedImage, SourceImage

PROBLEMS = (404, 410, 416)
REDUCED_PROBLEMS = (*PROBLEMS, 503)


class InputImage(ImageView):
    """An input image of one of the caller's generations; 404 where it was not sent."""

    required_scope = Scope.READ
    name: ClassVar[str]

    def get(self, request: Request, pk: UUID, name: str = "") -> HttpResponseBase:
        image = own_generation(request, pk).inputs.get(name or self.name)
        if image is None:
            raise Http404
        return image_response(request, self.file_of(image), OWNERS_ONLY)

    def file_of(self, image: Any) -> File:
        file: File = image.file
        return file


class PreviewFile:
    """Mixin: the preview of the image."""

    def file_of(self, image: Any) -> File:
        return preview_of(image)


@documented("Get the source image", IMAGE, problems=PROBLEMS)
class GenerationSource(InputImage):
    name = "source"


@documented("Get the thumbnail of the source image", THUMBNAIL, problems=REDUCED_PROBLEMS)
class GenerationSourceThumbnail(GenerationSource):
    def file_of(self, image: SourceImage) -> File:
        return thumbnail_of(image)


@documented("Get the preview of the source image", THUMBNAIL, problems=REDUCED_PROBLEMS)
class GenerationSourcePreview(PreviewFile, GenerationSource):
    pass


@documented("Get the mask: white is repainted", IMAGE, problems=PROBLEMS)
class GenerationMask(InputImage):
    name = "mask"


@documented("Get the preview of the mask", THUMBNAIL, problems=REDUCED_PROBLEMS)
class GenerationMaskPreview(PreviewFile, GenerationMask):
    pass


class ConditioningImageConverter(StringConverter):
    """The name of a conditioning image, which has hyphens in paths: "control-image-2"."""

    regex = "|".join(name.replace("_", "-") for name in CONDITIONING_IMAGES)

    def to_python(self, value: str) -> str:
        return value.replace("-", "_")

    def to_url(self, value: str) -> str:
        return value.replace("_", "-")


NAME = OpenApiParameter(
    "name", {"type": "string", "pattern": f"^({ConditioningImageConverter.regex})$"}, OpenApiParameter.PATH
)


@extend_schema_view(
    get=documented(
        "Get a control image, scaled to the source image, or an image prompt",
        IMAGE,
        problems=PROBLEMS,
        parameters=[NAME],
        name="conditioning_image_retrieve",
    )
)
class GenerationConditioningImage(InputImage):
    pass


@extend_schema_view(
    get=documented(
        "Get the preview of a conditioning image",
        THUMBNAIL,
        problems=REDUCED_PROBLEMS,
        parameters=[NAME],
        name="conditioning_image_preview_retrieve",
    )
)
class GenerationConditioningImagePreview(PreviewFile, InputImage):
    pass


NO_CREDENTIALS = sentence("This site adds no Content Credentials; leave content_credentials out.")
FORMAT = "png: the lossless PNG. A format that was not requested is a lossy copy made for this response."


@extended_by({"format": (type_of(find_setting("output_format")) | None, Field(None, description=FORMAT))})
class ResultQuery(Fields):
    embed_settings: Boolean = Field(
        None,
        description="true: the settings are in the file, as text of a PNG or as UserComment of JPEG and WebP; false: "
        "they are not. Without it, as stored: in PNG files, unless the site has turned that off.",
    )
    content_credentials: Boolean = Field(
        None,
        description="true: the file says how it was made, as signed Content Credentials (C2PA) and as IPTC's digital "
        "source type in XMP. The pixels are the same. What is stored is signed once; other formats, and other settings "
        "in the file, are signed for each response. 400 where the site has turned that off.",
    )


class GenerationImage(ImageView):
    """A result, in the requested output_format; `?download` answers with a file name."""

    required_scope = Scope.READ

    @documented("Get a result", RESULT, problems=(400, *PROBLEMS, 503), parameters=[DOWNLOAD, ResultQuery])
    def get(self, request: Request, pk: UUID, index: int) -> HttpResponseBase:
        image = own_image(request, pk, index)
        query = read_query(request, ResultQuery)
        format, embedded = query.sent().get("format", image.format), query.embed_settings
        name = f"dreamlayer-{str(pk)[:8]}-{index}.{EXTENSIONS[format]}" if "download" in request.query_params else None
        if query.content_credentials and not settings.CONTENT_CREDENTIALS:
            raise InvalidRequest(NO_CREDENTIALS, code="field_invalid", field="content_credentials")
        file = file_with_settings(image, format, embedded=embedded, is_signed=bool(query.content_credentials))
        return image_response(request, file, OWNERS_ONLY, filename=name)


class GenerationImageThumbnail(ImageView):
    required_scope = Scope.READ

    @documented("Get the thumbnail of a result", THUMBNAIL, problems=REDUCED_PROBLEMS)
    def get(self, request: Request, pk: UUID, index: int) -> HttpResponseBase:
        return image_response(request, thumbnail_of(own_image(request, pk, index)), OWNERS_ONLY)


class GenerationImagePreview(ImageView):
    required_scope = Scope.READ

    @documented("Get the preview of a result", THUMBNAIL, problems=REDUCED_PROBLEMS)
    def get(self, request: Request, pk: UUID, index: int) -> HttpResponseBase:
        return image_response(request, preview_of(own_image(request, pk, index)), OWNERS_ONLY)


class PublicImage(ImageView):
    """A result, or an uploaded image, by its signed link: no key, any origin."""

    authentication_classes = ()
    permission_classes = ()

    @documented("Get a result by its signed link", RESULT, problems=PROBLEMS, is_public=True)
    def get(self, request: Request, token: str, extension: str) -> HttpResponseBase:
        """The extension is png, or that of the requested output_format."""
        image = public_image(token)
        if image is None or extension not in {EXTENSIONS[format] for format in (PNG, image.format)}:
            raise NotFound("Image not found", code="not_found")
        file = file_in_format(image, FORMATS_BY_EXTENSION[extension])
        return linked_image_response(request, file, FOR_EVERY_ORIGIN)


def own_image(request: Request, pk: UUID, index: int) -> GeneratedImage:
    return get_object_or_404(own_generation(request, pk).images, index=index)
