"""The bodies of requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from django.conf import settings
from pydantic import Field, WithJsonSchema

from inpainting.api.fields import Fields, FieldsType, StoredText, extended_by
from inpainting.api.native.fields import PARENT, SELECT, ChangesForm, GenerationForm, Img2ImgForm
from inpainting.api.native.selections import SelectionForm
from inpainting.api.setting_types import with_settings
from inpainting.core.adapter_uses import CONDITIONING_IMAGES, IMAGE_LISTS, IMAGE_PLACES, AdapterList
from inpainting.core.settings_table import find_setting
from inpainting.image_limits import accepted_files
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

OR_ID = "Or the id of a mask that `POST /api/masks/` found: what it selects is repainted. "
WITHOUT_MASK = "Without a mask the whole image is repainted, which needs a diffusion model; outpainting needs none."
MASK_TEXT = f"PNG, as input_image. {OR_ID}{WITHOUT_MASK}"
IMAGE_TEXT = "Base64, a data URL, an http(s) URL, or a link of this site."
IMAGE_FILE = f"{accepted_files()}; or a text, as in JSON."
File = Annotated[Any, WithJsonSchema({"type": "string", "format": "binary"})]
"""A file of a form."""
FEW = Field(min_length=1, max_length=settings.BATCH_MAX_ITEMS)
BATCH_IMAGES = f"One part for each image, {settings.MAX_FILE_BODY_BYTES >> 20} MB in total; or texts, as in JSON."
BATCH_IMAGES_AS_TEXT = f"Each {IMAGE_TEXT[0].lower()}{IMAGE_TEXT[1:]}"


def image_help(name: str) -> str:
    """The help of a conditioning image."""
    role, index = IMAGE_PLACES[name]
    images = IMAGE_LISTS[role]
    if index == 0:
        return images.image_help
    if not isinstance(images, AdapterList):
        return f"{images.image_label} {index + 1}."
    default = f"; {images.image} without it" if images.shares_image else ""
    return f"That of entry {index + 1} of {role}{default}."


def with_images(sent_as: str, image_type: Any) -> Callable[[type[FieldsType]], type[FieldsType]]:
    """Give a model the conditioning images. sent_as: the field of its source image, in whose forms they are sent."""
    fields: dict[str, Any] = {
        name: (image_type | None, Field(None, description=f"As {sent_as}. {image_help(name)}"))
        for name in CONDITIONING_IMAGES
    }
    return extended_by(fields)


@with_images("image", File)
class Upload(GenerationForm):
    """Form fields and files. A text field `params` may hold the settings as JSON; numbers are clamped then."""

    image: File = Field(description=IMAGE_FILE)
    mask: File | None = Field(
        None,
        description="PNG up to 10 MB: white is kept and black repainted, unless mask_polarity is sent. "
        f"{OR_ID}{WITHOUT_MASK}",
    )


@with_settings([find_setting("prompt")], required=["prompt"])
@with_images("input_image", str)
class Json(Fields):
    """The same fields as in the form; numbers outside their range are clamped, with a warning."""

    input_image: str = Field(description=IMAGE_TEXT)
    mask: str | None = Field(None, description=MASK_TEXT)
    select: SelectionForm | None = Field(None, description=SELECT)
    parent: UUID | None = Field(None, description=PARENT)


@with_images("image", File)
class ChangesUpload(ChangesForm):
    """Form fields and files. Settings that are not sent stay as requested; a field sent empty resets its setting."""


@with_images("input_image", str)
class ChangesJson(ChangesForm):
    """The same fields as in the form; null resets a setting."""

    documents_null = True


@with_images("image", File)
class BatchUpload(Img2ImgForm):
    """Form fields and repeated files. The settings, a random seed and the conditioning images are shared by all
    images."""

    images: Annotated[list[File], FEW] = Field(description=BATCH_IMAGES)
    masks: Annotated[list[File], FEW] | None = Field(
        None, description=f"One mask for all images, or one for each in the same order. {WITHOUT_MASK}"
    )


@with_settings([find_setting("prompt")], required=["prompt"])
@with_images("input_image", str)
class BatchJson(Fields):
    """The same fields as in the form; numbers outside their range are clamped, with a warning."""

    images: Annotated[list[str], FEW] = Field(description=BATCH_IMAGES_AS_TEXT)
    masks: Annotated[list[str], FEW] | None = Field(
        None, description=f"PNG, as images: one for all, or one for each in the same order. {WITHOUT_MASK}"
    )


class Receiver(Fields):
    url: Annotated[StoredText, Field(min_length=1, max_length=MAX_URL_CHARACTERS)] = Field(
        description="An http or https URL of a public address."
    )


IMG2IMG = {"multipart/form-data": Upload, "application/json": Json}
CHANGES = {"multipart/form-data": ChangesUpload, "application/json": ChangesJson}
BATCH = {"multipart/form-data": BatchUpload, "application/json": BatchJson}
RECEIVER = {"application/json": Receiver, "multipart/form-data": Receiver}
