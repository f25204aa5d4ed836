"""The body and the answer of `POST /api/captions/`."""

from __future__ import annotations

from rest_framework import serializers

from inpainting.api.native.schemas.base import Answer, Constant
from inpainting.captioning import NO_MODEL, CaptionStyle
from inpainting.image_limits import accepted_files


class CaptionForm(serializers.Serializer):
    style = serializers.ChoiceField(  # type: ignore[assignment]  # the metaclass collects it
        [*CaptionStyle],
        default=CaptionStyle.PHOTO,
        help_text="The style of the words: of a photo, or the tags of a drawing.",
    )


class CaptionUploadForm(CaptionForm):
    """Form fields and a file."""

    image = serializers.FileField(help_text=f"{accepted_files()}; or a text, as in JSON.")


class CaptionJson(CaptionForm):
    """The same fields as in the form."""

    image = serializers.CharField(help_text="Base64, a data URL, an http(s) URL, or a link of this site.")


CAPTIONS = {"multipart/form-data": CaptionUploadForm, "application/json": CaptionJson}


class DescribedImage(Answer):
    status = Constant("success")
    caption = serializers.CharField(source="text", help_text="A description, for a prompt.")
    captioner = serializers.CharField(help_text=f"The model that wrote it; `{NO_MODEL}`: its colours, without a model.")
