"""The fields of ModelsLab's requests, with its ranges and defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError
from rest_framework.request import Request

from inpainting.api.fields import Fields, ImageText, Integer, Number, Range, StoredText
from inpainting.api.parsers import body_of
from inpainting.api.setting_types import Prompt, Seed
from inpainting.core.errors import InvalidRequest
from inpainting.core.settings_table import ALGORITHM_SPELLINGS, ALGORITHM_TYPES, RANGES, SAFETY_TYPES, SCHEDULERS
from inpainting.core.upscaling import SCALES
from inpainting.core.validation import check_text
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

NAME = "modelslab"
MAX_STEPS, DEFAULT_STEPS = 20, 31
"""The numbers are the published ones: the default exceeds the maximum, so that a request without steps has
MAX_STEPS."""
LORA_STRENGTHS = (0.1, 1)
IP_ADAPTERS = (
    *("ip-adapter_sdxl", "ip-adapter_sd15", "ip-adapter-plus-face_sd15"),
    *("ip-adapter-plus_sdxl_vit-h", "ip-adapter-plus-face_sdxl_vit-h"),
)
MAX_TRACK_ID_CHARACTERS = 255
Text = Annotated[StoredText, Field(min_length=1)]
ModelName = Annotated[Text, Field(max_length=200)]


def sent_fields(request: Request) -> dict[str, Any]:
    """Return the body without empty fields and without the key."""
    return {name: value for name, value in body_of(request).items() if name != "key" and value not in (None, "")}


def read_track_id(value: Any) -> str | int | float:
    """A text or a number, which is returned as it was sent."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value in (math.inf, -math.inf):
        raise PydanticCustomError("track_id", "It must be a text or a number.")
    check_text("track_id", str(value), MAX_TRACK_ID_CHARACTERS)
    return value


def check_between(name: str, value: float, lowest: float, highest: float = math.inf) -> None:
    """Raise InvalidRequest, in the words of the service, for a number out of its range."""
    if lowest <= value <= highest:
        return
    bounds = f"at least {lowest}" if highest == math.inf else f"between {lowest} and {highest}"
    raise InvalidRequest(f"{name} must be {bounds}", code="field_out_of_range", field=name)


class Between(Range):
    """The lowest and the highest number, both allowed."""

    def check(self, value: float, info: ValidationInfo) -> float:
        check_between(str(info.field_name), value, self.lowest, self.highest)
        return value


Side = Annotated[Integer, Between(256, 1024)]
Share = Annotated[Number, Between(0, 1)]


def choice(choices: Sequence[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in choices:
            raise PydanticCustomError("choice", f"It must be one of {', '.join(choices)}.")
        return value

    return AfterValidator(check)


class RequestForm(Fields):
    """The fields of every request, after those that were sent empty or as null are dropped.

    Numbers and booleans may be texts: `"512"`, `"yes"`.
    """

    base64: bool = False
    temp: bool = False
    instant_response: bool = False
    webhook: Annotated[Text, Field(max_length=MAX_URL_CHARACTERS)] | None = None
    track_id: Annotated[str | int | float, PlainValidator(read_track_id)] | None = None


class PaintForm(RequestForm):
    """The fields of requests that name what to paint."""

    max_steps: ClassVar[int] = MAX_STEPS

    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    enhance_prompt: bool = True
    width: Side | None = 512
    height: Side | None = 512
    samples: Annotated[Integer, Between(1, 4)] = 1
    num_inference_steps: Annotated[Integer, Between(1)] = DEFAULT_STEPS
    safety_checker: bool | None = None
    safety_checker_type: Annotated[str, choice(SAFETY_TYPES)] | None = None
    seed: Seed = 0
    guidance_scale: Annotated[Number, Between(1, 20)] = 7.5
    scheduler: Annotated[str, choice(SCHEDULERS)] | None = None
    use_karras_sigmas: bool = True
    algorithm_type: Annotated[str, choice((*ALGORITHM_TYPES, *ALGORITHM_SPELLINGS))] | None = None
    clip_skip: Annotated[Integer, Between(1, 8)] = 2
    vae: Annotated[Text, Field(max_length=500)] | None = None
    lora_model: Annotated[Text, Field(max_length=1000)] | None = None
    lora_strength: Annotated[Text, Field(max_length=500)] | None = None
    ip_adapter_id: Annotated[str, choice(IP_ADAPTERS)] | None = None
    ip_adapter_scale: Share | None = None
    ip_adapter_image: ImageText | None = None


class PromptForm(PaintForm):
    model_id: ModelName
    prompt: Prompt


class ImageToImageForm(PaintForm):
    model_id: ModelName
    init_image: ImageText
    strength: Share | None = None


class InpaintForm(ImageToImageForm):
    mask_image: ImageText


class EditForm(PaintForm):
    """Inpainting in the size of the image, unless another one is sent, by the server's choice of a model."""

    max_steps: ClassVar[int] = int(RANGES["steps"][1])

    init_image: ImageText
    mask_image: ImageText
    enhance_prompt: bool = False
    width: Side | None = None
    height: Side | None = None
    num_inference_steps: Annotated[Integer, Between(1)] = 30
    guidance_scale: Annotated[Number, Between(1, 20)] = 5.0
    strength: Share | None = 0.7


class OutpaintForm(PaintForm):
    max_steps: ClassVar[int] = 30

    image: ImageText
    prompt: Prompt = "high quality"
    negative_prompt: Prompt = "low quality"
    enhance_prompt: bool = False
    width: Annotated[Integer, Between(256, 1440)] = 1280
    height: Annotated[Integer, Between(256, 1440)] = 720
    overlap_width: Annotated[Integer, Between(0, RANGES["mask_grow"][1])] = 10
    num_inference_steps: Annotated[Integer, Between(1)] = 10
    guidance_scale: Annotated[Number, Between(1, 20)] = 8.0


class ObjectRemovalForm(RequestForm):
    init_image: ImageText
    mask_image: ImageText


class SuperResolutionForm(RequestForm):
    init_image: ImageText
    model_id: ModelName | None = None
    scale: Annotated[Number, Between(*SCALES)] = 3.0
    face_enhance: bool = False


class BackgroundForm(RequestForm):
    image: ImageText
    alpha_matting: bool = False
    post_process_mask: bool = False
    only_mask: bool = False
    inverse_mask: bool = False


class DescriptionForm(Fields):
    init_image: ImageText
    length: Literal["short", "normal", "long"] = "normal"


FORMS: Mapping[str, type[RequestForm]] = {
    "images/inpaint": InpaintForm,
    "images/img2img": ImageToImageForm,
    "images/text2img": PromptForm,
    "image_editing/inpaint": EditForm,
    "image_editing/outpaint": OutpaintForm,
    "image_editing/object_removal": ObjectRemovalForm,
    "image_editing/super_resolution": SuperResolutionForm,
    "image_editing/removebg_mask": BackgroundForm,
}
"""The routes that accept requests -> their fields, with the published defaults."""
VERSION_7 = {"images/text-to-image": "images/text2img", "images/image-to-image": "images/img2img"}
"""The routes of version 7 that have another name -> their name in version 6."""
