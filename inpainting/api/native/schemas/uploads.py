"""The body and the answer of `POST /api/upload-mask`."""

from __future__ import annotations

from rest_framework import serializers

from inpainting.api.native.schemas.base import Answer, Constant


class MaskUpload(serializers.Serializer):
    file = serializers.FileField(help_text="PNG up to 10 MB; or a text, as in JSON.")


class UploadedMask(Answer):
    status = Constant("success")
    message = serializers.CharField()
    filename = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes of the file.")
    url = serializers.URLField(help_text="A signed link that a later request may send as `mask`; a day by default.")
