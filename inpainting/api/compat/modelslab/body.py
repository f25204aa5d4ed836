"""The fields of ModelsLab's inpainting requests, with its ranges and defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from inpainting.api.fields import Fields, ImageText, Integer, Number, Range, StoredText
from inpainting.api.setting_types import Prompt, Seed
from inpainting.core.settings_table import (
    ALGORITHM_SPELLINGS,
    ALGORITHM_TYPES,
    SAFETY_TYPES,
    SCHEDULERS,
)
from inpainting.core.validation import check_text
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

MAX_STEPS, DEFAULT_STEPS = 20, 31
"""The numbers are the published ones: the default exceeds the maximum, so that a request without steps has
MAX_STEPS."""
RANGES: Mapping[str, tuple[float, float]] = {
    "width": (256, 1024),
    "height": (256, 1024),
    "samples": (1, 4),
    "num_inference_steps": (1, math.inf),
    "guidance_scale": (1, 20),
    "strength": (0, 1),
    "clip_skip": (1, 8),
    "lora_strength": (0.1, 1),
    "ip_adapter_scale": (0, 1),
}
IP_ADAPTERS = (
    *("ip-adapter_sdxl", "ip-adapter_sd15", "ip-adapter-plus-face_sd15"),
    *("ip-adapter-plus_sdxl_vit-h", "ip-adapter-plus-face_sdxl_vit-h"),
)
MAX_TRACK_ID_CHARACTERS = 255
Text = Annotated[StoredText, Field(min_length=1)]


def read_track_id(value: Any) -> str | int | float:
    """A text or a number, which is returned as it was sent."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value in (math.inf, -math.inf):
        raise PydanticCustomError("track_id", "It must be a text or a number.")
    check_text("track_id", str(value), MAX_TRACK_ID_CHARACTERS)
    return value


def choice(choices: Sequence[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in choices:
            raise PydanticCustomError("choice", f"It must be one of {', '.join(choices)}.")
        return value

    return AfterValidator(check)


class InpaintForm(Fields):
    """The fields of a request, after those that were sent empty or as null are dropped.

    Numbers and booleans may be texts: `"512"`, `"yes"`.
    """

    model_id: Text = Field(max_length=200)
    init_image: ImageText
    mask_image: ImageText
    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    enhance_prompt: bool = True
    width: Annotated[Integer, Range(*RANGES["width"])] = 512
    height: Annotated[Integer, Range(*RANGES["height"])] = 512
    samples: Annotated[Integer, Range(*RANGES["samples"])] = 1
    num_inference_steps: Annotated[Integer, Range(*RANGES["num_inference_steps"])] = DEFAULT_STEPS
    safety_checker: bool | None = None
    safety_checker_type: Annotated[str, choice(SAFETY_TYPES)] | None = None
    seed: Seed = 0
    guidance_scale: Annotated[Number, Range(*RANGES["guidance_scale"])] = 7.5
    strength: Annotated[Number, Range(*RANGES["strength"])] | None = None
    scheduler: Annotated[str, choice(SCHEDULERS)] | None = None
    use_karras_sigmas: bool = True
    algorithm_type: Annotated[str, choice((*ALGORITHM_TYPES, *ALGORITHM_SPELLINGS))] | None = None
    clip_skip: Annotated[Integer, Range(*RANGES["clip_skip"])] = 2
    vae: Annotated[Text, Field(max_length=500)] | None = None
    lora_model: Annotated[Text, Field(max_length=1000)] | None = None
    lora_strength: Annotated[Text, Field(max_length=500)] | None = None
    ip_adapter_id: Annotated[str, choice(IP_ADAPTERS)] | None = None
    ip_adapter_scale: Annotated[Number, Range(*RANGES["ip_adapter_scale"])] | None = None
    ip_adapter_image: ImageText | None = None
    base64: bool = False
    temp: bool = False
    webhook: Annotated[Text, Field(max_length=MAX_URL_CHARACTERS)] | None = None
    track_id: Annotated[str | int | float, PlainValidator(read_track_id)] | None = None
