"""The fields of ModelsLab's inpainting requests, with its ranges and defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from inpainting.api.images import ImageText
from inpainting.api.setting_fields import Integer, Number, Seed, Text
from inpainting.core.settings_table import (
    ALGORITHM_SPELLINGS,
    ALGORITHM_TYPES,
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    SAFETY_TYPES,
    SCHEDULERS,
    find_setting,
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


class TrackId(serializers.Field):
    """A text or a number, which is returned as it was sent."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "It must be a text or a number."}

    def to_internal_value(self, data: Any) -> str | int | float:
        if isinstance(data, bool) or not isinstance(data, str | int | float) or data in (math.inf, -math.inf):
            self.fail("invalid")
        check_text("track_id", str(data), MAX_TRACK_ID_CHARACTERS)
        return data


def number(name: str, kind: type[Integer] | type[Number] = Number, **options: Any) -> serializers.Field:
    low, high = RANGES[name]
    limits: dict[str, Any] = {"min_value": low, "max_value": None if high == math.inf else high}
    return kind(required=False, **limits, **options)


def choice(choices: Sequence[str]) -> serializers.ChoiceField:
    messages: dict[str, Any] = {"invalid_choice": f"It must be one of {', '.join(choices)}."}
    return serializers.ChoiceField(choices, required=False, error_messages=messages)


class InpaintForm(serializers.Serializer):
    """The fields of a request, after those that were sent empty or as null are dropped.

    Numbers and booleans may be texts: `"512"`, `"yes"`.
    """

    model_id = serializers.CharField(max_length=200)
    init_image = ImageText()
    mask_image = ImageText()
    prompt = Text(default="", max_length=MAX_PROMPT_CHARACTERS, trim_whitespace=False)
    negative_prompt = Text(default="", max_length=MAX_PROMPT_CHARACTERS, trim_whitespace=False)
    enhance_prompt = serializers.BooleanField(default=True)
    width = number("width", Integer, default=512)
    height = number("height", Integer, default=512)
    samples = number("samples", Integer, default=1)
    num_inference_steps = number("num_inference_steps", Integer, default=DEFAULT_STEPS)
    safety_checker = serializers.BooleanField(required=False)
    safety_checker_type = choice(SAFETY_TYPES)
    seed = Seed(max_value=MAX_SEED, default=0)
    guidance_scale = number("guidance_scale", default=7.5)
    strength = number("strength", default=find_setting("strength").default)
    scheduler = choice(SCHEDULERS)
    use_karras_sigmas = serializers.BooleanField(default=True)
    algorithm_type = choice((*ALGORITHM_TYPES, *ALGORITHM_SPELLINGS))
    clip_skip = number("clip_skip", Integer, default=2)
    vae = serializers.CharField(required=False, max_length=500)
    lora_model = serializers.CharField(required=False, max_length=1000)
    lora_strength = serializers.CharField(required=False, max_length=500)
    ip_adapter_id = choice(IP_ADAPTERS)
    ip_adapter_scale = number("ip_adapter_scale")
    ip_adapter_image = ImageText(required=False)
    base64 = serializers.BooleanField(default=False)
    temp = serializers.BooleanField(default=False)
    webhook = serializers.CharField(required=False, max_length=MAX_URL_CHARACTERS)
    track_id = TrackId(required=False)
