"""The bodies and query parameters of FooocusAPI v2.5, with its types, limits and defaults.

Source: the OpenAPI document of the service (github.com/mrhan1993/FooocusAPI-Docs, Writerside/cfg/openapi.json).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from inpainting.api.compat import fastapi
from inpainting.core.adapter_uses import MAX_PROMPT_CHARACTERS
from inpainting.segmenters.base import MAX_WORDS_CHARACTERS

NO_IMAGE = ("", "None", "none", "null", "string")
"""Texts that stand for no image. `string` is what the service's interactive documentation fills in."""


def remove_placeholder(value: Any) -> Any:
    return None if value in NO_IMAGE else value


SentImage = Annotated[str | None, BeforeValidator(remove_placeholder)]
"""A URL, base64 or a data URL."""
Share = Annotated[float, Field(ge=0, le=1)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
Name = Annotated[str, Field(max_length=500)]
Few = Field(max_length=100)
"""The limit of a list. The service has no limits on texts and lists; a request is stored, so it must not be large."""


class Performance(StrEnum):
    QUALITY = "Quality"
    SPEED = "Speed"
    EXTREME_SPEED = "Extreme Speed"
    LIGHTNING = "Lightning"
    HYPER_SD = "Hyper-SD"


class OutpaintSide(StrEnum):
    LEFT = "Left"
    RIGHT = "Right"
    TOP = "Top"
    BOTTOM = "Bottom"


class UpscaleOrVary(StrEnum):
    DISABLED = "Disabled"
    SUBTLE = "Vary (Subtle)"
    STRONG = "Vary (Strong)"
    UPSCALE_1_5 = "Upscale (1.5x)"
    UPSCALE_2 = "Upscale (2x)"
    UPSCALE_FAST_2 = "Upscale (Fast 2x)"
    UPSCALE_CUSTOM = "Upscale (Custom)"


class OutputFormat(StrEnum):
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


class MetadataScheme(StrEnum):
    FOOOCUS = "fooocus"
    A1111 = "a1111"


class ControlType(StrEnum):
    IMAGE_PROMPT = "ImagePrompt"
    FACE_SWAP = "FaceSwap"
    PYRA_CANNY = "PyraCanny"
    CPDS = "CPDS"


class SentLora(BaseModel):
    enabled: bool
    model_name: Name
    weight: Annotated[float, Field(ge=-2, le=2)] = 0.5


class ImagePrompt(BaseModel):
    cn_img: SentImage = None
    cn_stop: Share | None = 0.6
    cn_weight: Annotated[float, Field(ge=0, le=2)] | None = 0.6
    cn_type: ControlType = ControlType.IMAGE_PROMPT


class Delivery(BaseModel):
    """The fields that decide how the response is sent."""

    model_config = ConfigDict(allow_inf_nan=False)  # JSON columns cannot hold them.

    stream_output: bool = False
    async_process: bool = False


class FieldsWithEffect(Delivery):
    """The fields that have an effect here."""

    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    style_selections: Annotated[list[Name], Few] = ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp"]
    performance_selection: Performance = Performance.SPEED
    overwrite_step: int = -1
    aspect_ratios_selection: Name = "1152*896"
    overwrite_width: Annotated[int, Field(ge=-1, le=2048)] = -1
    overwrite_height: Annotated[int, Field(ge=-1, le=2048)] = -1
    image_number: Annotated[int, Field(ge=1, le=32)] = 1
    image_seed: int = -1
    output_format: OutputFormat = OutputFormat.PNG
    save_name: Name = ""
    guidance_scale: Annotated[float, Field(ge=1, le=30)] = 4.0
    base_model_name: Name = "juggernautXL_v8Rundiffusion.safetensors"
    loras: Annotated[list[SentLora], Few] = []
    vae_name: Name = "Default (model)"
    sampler_name: Name = "dpmpp_2m_sde_gpu"
    scheduler_name: Name = "karras"
    clip_skip: Annotated[int, Field(ge=1, le=12)] = 2
    black_out_nsfw: bool = False
    disable_preview: bool = False
    uov_method: UpscaleOrVary = UpscaleOrVary.DISABLED
    inpaint_input_image: SentImage = None
    inpaint_mask_image_upload: SentImage = None
    inpaint_additional_prompt: Prompt = ""
    inpaint_strength: Share = 1.0
    inpaint_respective_field: Share = 0.618
    inpaint_erode_or_dilate: Annotated[int, Field(ge=-64, le=64)] = 0
    outpaint_selections: Annotated[list[OutpaintSide], Few] = []
    outpaint_distance: Annotated[list[int], Field(min_length=4, max_length=4)] = [0, 0, 0, 0]
    controlnet_image: Annotated[list[ImagePrompt], Few] = [ImagePrompt()]
    mixing_image_prompt_and_inpaint: bool = False
    webhook_url: str | None = ""


class GenerateBody(FieldsWithEffect):
    """The body of `/v1/engine/generate`. The fields below are checked, and have no effect here."""

    adaptive_cfg: Annotated[float, Field(ge=1, le=30)] = 7.0
    adm_scaler_end: Share = 0.3
    adm_scaler_negative: Annotated[float, Field(ge=0, le=3)] = 0.8
    adm_scaler_positive: Annotated[float, Field(ge=0, le=3)] = 1.5
    canny_high_threshold: Annotated[int, Field(ge=1, le=255)] = 128
    canny_low_threshold: Annotated[int, Field(ge=1, le=255)] = 64
    controlnet_softness: Share = 0.25
    current_tab: Name = "uov"
    debugging_cn_preprocessor: bool = False
    debugging_dino: bool = False
    debugging_enhance_masks_checkbox: bool = False
    debugging_inpaint_preprocessor: bool = False
    dino_erode_or_dilate: Annotated[int, Field(ge=-64, le=64)] = 0
    disable_intermediate_results: bool = False
    disable_seed_increment: bool = False
    enhance_checkbox: bool = False
    enhance_ctrls: Annotated[list[dict[str, Any]], Few] = []
    enhance_input_image: SentImage = None
    enhance_uov_method: UpscaleOrVary = UpscaleOrVary.DISABLED
    enhance_uov_processing_order: Name = "Before First Enhancement"
    enhance_uov_prompt_type: Name = "Original Prompts"
    freeu_b1: float = 1.01
    freeu_b2: float = 1.02
    freeu_enabled: bool = False
    freeu_s1: float = 0.99
    freeu_s2: float = 0.95
    generate_image_grid: bool = False
    inpaint_advanced_masking_checkbox: bool = False
    inpaint_disable_initial_latent: bool = False
    inpaint_engine: Name = "v2.6"
    input_image_checkbox: bool = False
    invert_mask_checkbox: bool = False
    metadata_scheme: MetadataScheme = MetadataScheme.FOOOCUS
    mixing_image_prompt_and_vary_upscale: bool = False
    overwrite_switch: int = -1
    overwrite_upscale_strength: Annotated[float, Field(ge=-1, le=1)] = -1
    overwrite_vary_strength: Annotated[float, Field(ge=-1, le=1)] = -1
    preset: Name = "initial"
    read_wildcards_in_order: bool = False
    refiner_model_name: Name = "None"
    refiner_swap_method: Name = "joint"
    refiner_switch: Annotated[float, Field(ge=0.1, le=1)] = 0.5
    require_base64: bool = False
    save_metadata_to_images: bool = True
    sharpness: Annotated[float, Field(ge=0, le=30)] = 2.0
    skipping_cn_preprocessor: bool = False
    uov_input_image: SentImage = None
    upscale_multiple: Annotated[float, Field(ge=1, le=5)] = 1.0

    @property
    def inpaints(self) -> bool:
        """Whether an image is inpainted or outpainted; else it is text-to-image."""
        return bool(self.inpaint_input_image and (self.inpaint_mask_image_upload or self.outpaint_selections))

    def differs_from_default(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def ineffective_fields(self) -> list[str]:
        """Return the fields without effect that were sent with another value than their default."""
        without_effect = type(self).model_fields.keys() - FieldsWithEffect.model_fields.keys()
        return sorted(filter(self.differs_from_default, without_effect))


class MaskModel(StrEnum):
    U2NET = "u2net"
    U2NETP = "u2netp"
    U2NET_HUMAN_SEG = "u2net_human_seg"
    U2NET_CLOTH_SEG = "u2net_cloth_seg"
    SILUETA = "silueta"
    ISNET_GENERAL_USE = "isnet-general-use"
    ISNET_ANIME = "isnet-anime"
    SAM = "sam"


class MaskBody(BaseModel):
    """The body of `/v1/tools/generate_mask`, and `allow_built_in`, a field of our own."""

    image: str
    mask_model: MaskModel = MaskModel.ISNET_GENERAL_USE
    cloth_category: Name = "full"
    dino_prompt_text: Annotated[str, Field(max_length=MAX_WORDS_CHARACTERS)] = ""
    sam_model: Name = "vit_b"
    box_threshold: Share = 0.3
    text_threshold: Share = 0.25
    sam_max_detections: Annotated[int, Field(ge=0, le=10)] = 0
    dino_erode_or_dilate: Annotated[float, Field(ge=-64, le=64)] = 0
    dino_debug: bool = False
    allow_built_in: bool = False


class ImageType(StrEnum):
    PHOTO = "Photo"
    ANIME = "Anime"


class DescribeBody(BaseModel):
    """The body of `/v1/tools/describe-image`."""

    image: str
    image_type: ImageType = ImageType.PHOTO


class DescribeForm(BaseModel):
    """The form of earlier versions of the service, which send `type` in the URL."""

    image: fastapi.File
    type: ImageType = ImageType.PHOTO


IMAGES = ("inpaint_input_image", "inpaint_mask_image_upload", "uov_input_image", "enhance_input_image")
NOT_STORED = {*IMAGES, "controlnet_image", "enhance_ctrls"}
"""The fields of a request that may be large."""


class TaskSelection(StrEnum):
    ALL = "all"
    HISTORY = "history"
    CURRENT = "current"
    PENDING = "pending"


class TaskQuery(BaseModel):
    """The query parameters of `/tasks`."""

    query: TaskSelection = TaskSelection.ALL
    page: Annotated[int, Field(ge=0, le=10**6)] = 0
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    start_at: datetime | None = None
    end_at: datetime | None = None
    action: Name = ""


class ControlQuery(BaseModel):
    """The query parameters of `/v1/engine/control`."""

    action: Name
