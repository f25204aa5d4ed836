"""The bodies of requests."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from rest_framework import serializers

from inpainting.api.native.fields import ChangesForm, GenerationForm, Img2ImgForm
from inpainting.api.native.schemas.base import NullIsEmpty
from inpainting.core.adapter_uses import CONDITIONING_IMAGES, IMAGE_PLACES, LISTS_BY_SETTING
from inpainting.image_limits import accepted_files
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

OR_ID = "Or the id of a mask that `POST /api/masks/` found: what it selects is repainted. "
WITHOUT_MASK = "Without a mask the whole image is repainted, which needs a diffusion model; outpainting needs none."


def image_help(name: str) -> str:
    """The help of a conditioning image."""
    setting, index = IMAGE_PLACES[name]
    adapters = LISTS_BY_SETTING[setting]
    if index == 0:
        return adapters.image_help
    default = f"; {adapters.image} without it" if adapters.shares_image else ""
    return f"That of entry {index + 1} of {setting}{default}."


class ConditioningImages(serializers.Serializer):
    """The conditioning images of a body. sent_as: the field of its source image, in whose forms they are sent."""

    sent_as: ClassVar[str]
    image_field: ClassVar[type[serializers.Field]]

    def get_fields(self) -> dict[str, serializers.Field]:
        helps = {name: f"As {self.sent_as}. {image_help(name)}" for name in CONDITIONING_IMAGES}
        images = {name: self.image_field(required=False, help_text=text) for name, text in helps.items()}
        return {**super().get_fields(), **images}


class ImageFiles(ConditioningImages):
    sent_as, image_field = "image", serializers.FileField


class ImageTexts(ConditioningImages):
    sent_as, image_field = "input_image", serializers.CharField


class Upload(ImageFiles, GenerationForm):
    """Form fields and files. A text field `params` may hold the settings as JSON; numbers are clamped then."""

    image = serializers.FileField(help_text=f"{accepted_files()}; or a text, as in JSON.")
    mask = serializers.FileField(
        required=False,
        help_text="PNG up to 10 MB: white is kept and black repainted, unless mask_polarity is sent. "
        f"{OR_ID}{WITHOUT_MASK}",
    )


class Json(ImageTexts):
    """The same fields as in the form; numbers outside their range are clamped, with a warning."""

    input_image = serializers.CharField(help_text="Base64, a data URL, an http(s) URL, or a link of this site.")
    mask = serializers.CharField(required=False, help_text=f"PNG, as input_image. {OR_ID}{WITHOUT_MASK}")
    prompt = Img2ImgForm().fields["prompt"]
    parent = GenerationForm().fields["parent"]  # type: ignore[assignment] # see GenerationForm


class ChangesUpload(ImageFiles, ChangesForm):
    """Form fields and files. Settings that are not sent stay as requested; a field sent empty resets its setting."""


class ChangesJson(NullIsEmpty, ImageTexts, ChangesForm):
    """The same fields as in the form; null resets a setting."""


def image_list(child: serializers.Field, help_text: str) -> serializers.ListField:
    return serializers.ListField(child=child, min_length=1, max_length=settings.BATCH_MAX_ITEMS, help_text=help_text)


class BatchUpload(ImageFiles, Img2ImgForm):
    """Form fields and repeated files. The settings, a random seed, control images and image prompts are shared by all
    images."""

    images = image_list(
        serializers.FileField(),
        f"One part for each image, {settings.MAX_FILE_BODY_BYTES >> 20} MB in total; or texts, as in JSON.",
    )
    masks = image_list(
        serializers.FileField(), "One mask for all images, or one for each in the same order; outpainting needs none."
    )


class BatchJson(ImageTexts):
    """The same fields as in the form; numbers outside their range are clamped, with a warning."""

    images = image_list(serializers.CharField(), "Each base64, a data URL, an http(s) URL, or a link of this site.")
    masks = image_list(serializers.CharField(), "PNG, as images: one for all, or one for each in the same order.")
    prompt = Json().fields["prompt"]


class Receiver(serializers.Serializer):
    url = serializers.CharField(max_length=MAX_URL_CHARACTERS, help_text="An http or https URL of a public address.")


IMG2IMG = {"multipart/form-data": Upload, "application/json": Json}
CHANGES = {"multipart/form-data": ChangesUpload, "application/json": ChangesJson}
BATCH = {"multipart/form-data": BatchUpload, "application/json": BatchJson}
RECEIVER = {"application/json": Receiver, "multipart/form-data": Receiver}
