"""The body and the answers of `POST /api/plan/`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from inpainting.api.fields import Fields, FromJson, Integer, Range, StoredText
from inpainting.api.native.fields import ENGINE, SELECT, ChangesForm
from inpainting.api.native.schemas.base import Answer, Optional, Success
from inpainting.api.native.schemas.bodies import MASK_TEXT, File, with_images
from inpainting.api.native.schemas.generations import SOURCE_BOX
from inpainting.api.native.selections import SelectionForm
from inpainting.api.setting_types import with_settings
from inpainting.core.adapter_uses import CONDITIONING_IMAGES, MAX_NAME_CHARACTERS
from inpainting.core.settings_table import find_setting
from inpainting.core.upscaling import MAX_SIDE, UPSCALE_ROWS

MODELS = "Engine -> the model to use if that engine is chosen and `model` is not sent."

IMAGE_SIZE = (
    "Without an image: the width and height of the one that will be sent, for its window or the size of its upscaling."
)
PLANNED_ENGINE = f"{ENGINE} With upscale, the fields are those of POST /api/upscale."
WINDOW_SCALE = "How many times as large work_size is as the window, across and down."
MASK_BOX = "Left, top, right and bottom of what its mask will mark, right and bottom exclusive."

SENT_IMAGES = "Without an image: the names of the conditioning images that will be sent, such as insert_image."

SCALE = next(row for row in UPSCALE_ROWS if row.name == "scale")

Side = Annotated[Integer, Range(1, MAX_SIDE)]
Edge = Annotated[Integer, Range(0, MAX_SIDE)]
ModelName = Annotated[StoredText, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
ImageName = Annotated[StoredText, Field(max_length=MAX_NAME_CHARACTERS)]


ImageSize = Annotated[list[Side], FromJson, Field(min_length=2, max_length=2)]
MaskBox = Annotated[list[Edge], FromJson, Field(min_length=4, max_length=4)]


class PlanForm(ChangesForm):
    models: dict[str, ModelName] | None = Field(None, description=MODELS)
    image_size: list[int] | None = Field(None, min_length=2, max_length=2, description=IMAGE_SIZE)
    mask_box: list[int] | None = Field(None, min_length=4, max_length=4, description=MASK_BOX)
    images: list[ImageName] | None = Field(None, max_length=len(CONDITIONING_IMAGES), description=SENT_IMAGES)


class UpscalePlanForm(Fields):
    """What the plan of an upscaling reads besides the fields of POST /api/upscale."""

    image_size: ImageSize | None = Field(None, description=IMAGE_SIZE)
    mask_box: MaskBox | None = Field(None, description=MASK_BOX)


@with_settings([find_setting("prompt"), SCALE])
@with_images("image", File)
class PlanUpload(Fields):
    """The form fields and files of POST /api/img2img, none of which is required; numbers outside their range are
    clamped without an image."""

    image: File | None = Field(None, description="As of POST /api/img2img. Without: only the settings.")
    mask: File | None = Field(None, description=MASK_TEXT)
    select: SelectionForm | None = Field(None, description=SELECT)
    engine: str | None = Field(None, description=PLANNED_ENGINE)


@with_settings([find_setting("prompt"), SCALE])
@with_images("input_image", str)
class PlanJson(Fields):
    """The fields of POST /api/img2img; numbers outside their range are clamped, with a warning."""

    input_image: str | None = Field(None, description="As of POST /api/img2img. Without: only the settings.")
    mask: str | None = Field(None, description=MASK_TEXT)
    select: SelectionForm | None = Field(None, description=SELECT)
    engine: str | None = Field(None, description=PLANNED_ENGINE)
    models: dict[str, ModelName] | None = Field(None, description=MODELS)
    image_size: list[int] | None = Field(None, min_length=2, max_length=2, description=IMAGE_SIZE)
    mask_box: list[int] | None = Field(None, min_length=4, max_length=4, description=MASK_BOX)
    images: list[ImageName] | None = Field(None, max_length=len(CONDITIONING_IMAGES), description=SENT_IMAGES)
    documents_null = True


class FormOfferAnswer(Answer):
    """The choices of a settings form. With the engine auto, those that apply once there is a prompt."""

    engine: str
    ignored: dict[str, str] = Field(description="Setting -> why it has no effect.")
    defaults: dict[str, Any] = Field(description="Setting -> the value that is used where none is sent.")
    limits: dict[str, Any] = Field(description="Setting -> lowest and highest number, where the model narrows them.")
    choices: dict[str, Any] = Field(description="Setting -> the names that the model takes.")
    adapters: dict[str, Any] = Field(description="Setting -> slugs of the installed adapters that fit the model.")
    edits: bool = Field(
        description="Whether a prompt is an instruction about the image, so that a form asks for no mask."
    )
    reference_images: int = Field(description="Reference images that the model takes at most.")
    reads_prompt_weights: bool = Field(description="Whether (words:1.3) in a prompt count more.")
    hint: str = Field(description="How a prompt would change what auto chooses; may be empty.")


class PlanAnswer(Success):
    engine: str
    engine_label: str
    engine_reason: str = Field(description="Why this engine would be chosen.")
    model: str | None
    resolved: dict[str, Any] = Field(description="Every setting with its default filled in.")
    ignored: dict[str, str] = Field(description="Setting -> why it has no effect.")
    warnings: list[str]
    problems: dict[str, str] = Field(
        description="Setting -> why it does not fit the others; it was left out of this plan."
    )
    window: list[int] | None = Field(
        description="Left, top, right, bottom of what the engine would get; null without image_size and mask_box."
    )
    work_size: list[int] | None = Field(description="Width, height at which it would work.")
    scale: list[float] | None = Field(description=WINDOW_SCALE)
    form: FormOfferAnswer


class UpscalePlanAnswer(Success):
    """The plan of a request with the engine upscale."""

    engine: Literal["upscale", "diffusion"] = Field(description="diffusion where detail is added.")
    engine_reason: str = Field(description="Why the image is enlarged, and by which upscaler.")
    model: str = Field(description="The upscaler; where detail is added, the diffusion model.")
    upscaler: str
    width: int = Field(description="Of the result.")
    height: int
    source_width: int
    source_height: int
    tiles: int | None = Field(
        description="In which the image is enlarged; null where the network's file does not tell it, as of ONNX."
    )
    detail_tiles: int | None = Field(
        description="In which the model adds detail, those that the mask touches; null without detail."
    )
    quality: int | None = Field(description="Of the result files; null where they are PNG, or without the image.")
    estimate_seconds: float | None = Field(
        description="By earlier upscalings, whichever their upscalers, or by earlier generations of the engine "
        "diffusion; null without any."
    )
    ignored: list[str]
    ignored_fields: list[str]
    warnings: list[str]


class ImagePlanAnswer(Success):
    """The plan of a request with images."""

    engine: str
    engine_reason: str = Field(description="Why this engine would be chosen.")
    width: int
    height: int
    source_width: Optional[int] = Field(None, description="Outpainting: of the image as it was sent.")
    source_height: Optional[int] = None
    source_box: Optional[list[int]] = Field(None, description=SOURCE_BOX)
    mode: Literal["L", "LA", "RGB", "RGBA"]
    bits: Literal[8, 16]
    mask: str = Field(description="Data URL of a PNG of the effective mask: white is repainted.")
    quality: int | None = Field(description="Of the result files; null where they are PNG.")
    coverage: float = Field(ge=0, le=1)
    window: list[int] = Field(description="Left, top, right, bottom.")
    work_size: list[int] = Field(description="Width, height at which the engine works.")
    scale: list[float] = Field(description=WINDOW_SCALE)
    insert_box: Optional[list[int]] = Field(
        None, description="Left, top, right, bottom of insert_image where it is placed; it may reach beyond the image."
    )
    estimate_seconds: float | None
    ignored: list[str]
    warnings: list[str]
