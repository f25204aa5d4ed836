"""The bodies of AUTOMATIC1111's web API, with its types and defaults.

Source: the OpenAPI document that the service has at `/docs`. A field that is null counts as not sent, as there.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from rest_framework.request import Request

from inpainting.api.compat import fastapi
from inpainting.api.parsers import body_of
from inpainting.core.adapter_uses import CONTROL_STRENGTHS, MAX_PROMPT_CHARACTERS
from inpainting.core.geometry import Size
from inpainting.core.settings_table import MAX_SEED, RANGES
from inpainting.core.upscaling import MAX_SIDE

M = TypeVar("M", bound=BaseModel)


def within(lowest: float, highest: float) -> Any:
    return Field(ge=lowest, le=highest)


Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
Name = Annotated[str, Field(max_length=500)]
Share = Annotated[float, within(0, 1)]
Count = Annotated[int, within(*RANGES["num_images"])]
Side = Annotated[int, within(*RANGES["width"])]
Blur = Annotated[int, within(*RANGES["mask_blur"])]
NEUTRAL: tuple[Any, ...] = (False, 0, -1, "", [], {})
"""Values with which a field has no effect in the service either."""
NEUTRAL_VALUES = {
    **dict.fromkeys(("s_noise", "initial_noise_multiplier", "override_settings_restore_afterwards"), (1,)),
    **{"eta": (0, 1), "image_cfg_scale": (0, 1.5)},
}
"""Such values of fields that have others."""
PREPROCESSING = frozenset({"processor_res", "threshold_a", "threshold_b"})
WITHOUT_EFFECT_ON_RESULTS = frozenset({"low_vram", "pixel_perfect", "hr_option", "save_detected_map"})
"""Further fields of a ControlUnit: those of its module, and those that change no result."""


class ResizeMode(IntEnum):
    """How an image gets another shape."""

    STRETCH = 0
    CROP = 1
    FILL = 2
    LATENT = 3


class OptionsBody(BaseModel):
    """The options that have an effect: of one request, or those that the server keeps."""

    sd_model_checkpoint: Name = ""
    sd_vae: Name = "Automatic"
    CLIP_stop_at_last_layers: Annotated[int, within(*RANGES["clip_skip"])] = 1


class ControlUnit(BaseModel):
    """An entry of `alwayson_scripts.controlnet.args`."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    enabled: bool = True
    image: str | dict[str, Any] | None = Field(None, validation_alias=AliasChoices("image", "input_image"))
    model: Name = "None"
    module: Name = "none"
    weight: Annotated[float, within(*CONTROL_STRENGTHS)] = 1.0
    guidance_start: Share = 0.0
    guidance_end: Share = 1.0

    @property
    def own_image(self) -> str:
        """The image, which some clients send in an object, beside a mask; empty without one."""
        image = self.image.get("image") if isinstance(self.image, dict) else self.image
        return image if isinstance(image, str) else ""

    @property
    def preprocesses(self) -> bool:
        return self.module.lower() not in ("", "none")

    def fields_without_effect(self) -> list[str]:
        """Return the names of what was sent and would have an effect in the service, but has none here."""
        neutral = {"control_mode": (0, "Balanced"), "resize_mode": (0, "Just Resize")}
        skipped = WITHOUT_EFFECT_ON_RESULTS | (frozenset() if self.preprocesses else PREPROCESSING)
        extra = (self.model_extra or {}).items()
        return [
            name
            for name, value in extra
            if name not in skipped and value is not None and value not in neutral.get(name, NEUTRAL)
        ]


class TextBody(BaseModel):
    """The fields of txt2img that have an effect here; others that were sent are in `model_extra`."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    seed: Annotated[int, within(-1, MAX_SEED)] = -1
    steps: Annotated[int, within(*RANGES["steps"])] = 50
    cfg_scale: Annotated[float, within(*RANGES["guidance_scale"])] = 7.0
    sampler_name: Name = ""
    sampler_index: Name = "Euler"
    scheduler: Name = ""
    width: Side = 512
    height: Side = 512
    batch_size: Count = 1
    n_iter: Count = 1
    override_settings: dict[str, Any] = {}
    alwayson_scripts: dict[str, Any] = {}
    script_name: Name = ""
    send_images: bool = True
    save_images: bool = True

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    @property
    def paints_masked_area_alone(self) -> bool:
        """Whether the result has the size of the image, and `size` is that at which its masked area is painted."""
        return False

    def fields_without_effect(self) -> list[str]:
        """Return the names of what was sent and would have an effect in the service, but has none here."""
        extra = (self.model_extra or {}).items()
        names = [name for name, value in extra if value not in NEUTRAL_VALUES.get(name, NEUTRAL)]
        if "enable_hr" not in names:  # the second pass of txt2img
            names = [name for name in names if not name.startswith(("hr_", "firstphase_", "denoising_"))]
        if self.sampler_name and "sampler_index" in self.model_fields_set and self.sampler_index != self.sampler_name:
            names.append("sampler_index")
        return names if self.save_images else [*names, "save_images"]  # all results are in the history


class ImageBody(TextBody):
    """The body of img2img."""

    init_images: Annotated[list[str], Field(max_length=100)] = []
    mask: str = ""
    mask_blur: Blur | None = None
    mask_blur_x: Blur = 4
    mask_blur_y: Blur = 4
    mask_round: bool = True
    inpainting_fill: Literal[0, 1, 2, 3] = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: Annotated[int, within(*RANGES["only_masked_padding"])] = 0
    inpainting_mask_invert: Literal[0, 1] = 0
    resize_mode: ResizeMode = ResizeMode.STRETCH
    denoising_strength: Share = 0.75

    @property
    def paints_masked_area_alone(self) -> bool:
        return bool(self.mask) and self.inpaint_full_res


class ExtrasBody(BaseModel):
    """The body of extra-single-image."""

    model_config = ConfigDict(allow_inf_nan=False)

    image: str = ""
    resize_mode: Literal[0, 1] = 0
    upscaling_resize: Annotated[float, Field(gt=0)] = 2.0
    upscaling_resize_w: Annotated[int, within(1, MAX_SIDE)] = 512
    upscaling_resize_h: Annotated[int, within(1, MAX_SIDE)] = 512
    upscaling_crop: bool = True
    upscaler_1: Name = "None"
    extras_upscaler_2_visibility: Share = 0
    gfpgan_visibility: Share = 0
    codeformer_visibility: Share = 0

    @property
    def keeps_the_size(self) -> bool:
        return self.upscaler_1 == "None" or (self.resize_mode == 0 and self.upscaling_resize == 1)

    def fields_without_effect(self) -> list[str]:
        return [name for name in type(self).model_fields if name.endswith("visibility") and getattr(self, name)]


class SentImageBody(BaseModel):
    """The body of interrogate and of png-info."""

    image: str = ""
    model: Name = "clip"


def read_body(model: type[M], request: Request) -> M:
    """Return the body. Raises InvalidBody."""
    return fastapi.validate(model, {name: value for name, value in body_of(request).items() if value is not None})
