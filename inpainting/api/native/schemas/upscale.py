"""The body of `POST /api/upscale`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from inpainting.api.fields import Fields, Length
from inpainting.api.native.fields import PARENT
from inpainting.api.native.schemas.bodies import BATCH_IMAGES, BATCH_IMAGES_AS_TEXT, FEW, IMAGE_FILE, IMAGE_TEXT, File
from inpainting.api.setting_types import with_settings
from inpainting.core.masks import MaskPolarity
from inpainting.core.upscaling import UPSCALE_ROWS
from inpainting.engines.upscaling import DETAIL_ROWS, FILE_ROWS
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

MASK = "With detail: which part of the image gets it. The whole image without."
BATCH_MASKS = f"{MASK} One for all images, or one for each."


@with_settings([*UPSCALE_ROWS, *FILE_ROWS, *DETAIL_ROWS])
class UpscaleBatchForm(Fields):
    """The size, the upscaler, how a diffusion model adds detail, and the settings of the result's file."""

    model: Annotated[str, Length(200, may_be_blank=True)] | None = Field(
        None,
        description="The upscaler: lanczos, which needs no model, or an installed one. Default: the first installed "
        "one, else lanczos.",
    )
    mask_polarity: MaskPolarity = Field(MaskPolarity.BLACK_REPAINTS, description="Which part of the mask gets detail.")
    webhook_url: Annotated[str, Length(MAX_URL_CHARACTERS, may_be_blank=True)] | None = Field(
        None, description="Called when the generation has ended: an http or https URL of a public address."
    )


class UpscaleForm(UpscaleBatchForm):
    """The fields of one image: those of a batch, and its parent."""

    parent: UUID | None = Field(None, description=PARENT)


class UpscaleUpload(UpscaleForm):
    """Form fields and files. A text field `params` may hold the settings as JSON; numbers are clamped then."""

    image: File = Field(description=IMAGE_FILE)
    mask: File | None = Field(None, description=MASK)


@with_settings(UPSCALE_ROWS)
class UpscaleJson(Fields):
    """The same fields as in the form; numbers outside their range are clamped, with a warning."""

    input_image: str = Field(description=IMAGE_TEXT)
    mask: str | None = Field(None, description=MASK)
    model: str | None = None
    prompt: str | None = None
    parent: UUID | None = Field(None, description=PARENT)


class UpscaleBatchUpload(UpscaleBatchForm):
    """Form fields and repeated files. The settings are shared by all images."""

    images: Annotated[list[File], FEW] = Field(description=BATCH_IMAGES)
    masks: Annotated[list[File], FEW] | None = Field(None, description=BATCH_MASKS)


@with_settings(UPSCALE_ROWS)
class UpscaleBatchJson(Fields):
    """The same fields as in the form; numbers outside their range are clamped, with a warning."""

    images: Annotated[list[str], FEW] = Field(description=BATCH_IMAGES_AS_TEXT)
    masks: Annotated[list[str], FEW] | None = Field(None, description=BATCH_MASKS)
    model: str | None = None
    prompt: str | None = None


UPSCALE_BODY: dict[str, type[Fields]] = {"multipart/form-data": UpscaleUpload, "application/json": UpscaleJson}
UPSCALE_BATCH: dict[str, type[Fields]] = {
    "multipart/form-data": UpscaleBatchUpload,
    "application/json": UpscaleBatchJson,
}
