"""The table of settings: each field of `PaintSettings` declares its limits, default, label, help and readers.

Everything else derives from it: the checks below, the fields of the API and its OpenAPI schema, the options of the CLI,
the inputs of the editor, the rows of the history and `docs/use/settings.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from inpainting.core.adapter_uses import (
    ADAPTER_LISTS,
    CONTROL_STRENGTHS,
    CONTROL_TYPES,
    CONTROLS,
    IP_ADAPTER_SCALES,
    IP_ADAPTERS,
    LORA_WEIGHTS,
    MAX_CONTROLS,
    MAX_IP_ADAPTERS,
    MAX_PROMPT_CHARACTERS,
    MAX_REGIONS,
    ControlUse,
    IPAdapterUse,
    ListEntry,
    LoraUse,
    Region,
    entry_from_dict,
    entry_to_dict,
)
from inpainting.core.errors import InvalidRequest
from inpainting.core.metadata import KINDS_BY_CHOICE
from inpainting.core.sentences import mark, pmark, sentence
from inpainting.core.setting import (
    DIFFUSION,
    ERASE,
    EVERY_ENGINE,
    QUICK_FILL,
    IgnoredWhen,
    Setting,
    SettingGroup,
    rows_of,
    setting,
)
from inpainting.core.validation import check_count

MAX_SEED = 2**63 - 1
MAX_LORAS = 8
MAX_EMBEDDINGS = 8
SCHEDULERS = (
    *("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler"),
    *("EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "DPMSolverSinglestepScheduler", "KDPM2AncestralDiscreteScheduler"),
    *("UniPCMultistepScheduler", "DDIMInverseScheduler", "DEISMultistepScheduler", "IPNDMScheduler"),
    *("KarrasVeScheduler", "ScoreSdeVeScheduler", "LCMScheduler"),
)
"""Schedulers of noise-prediction models, by the names of diffusers."""
FLOW_SCHEDULERS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
"""Schedulers of flow-matching models, by the names of diffusers."""
ALL_SCHEDULERS = (*SCHEDULERS, *FLOW_SCHEDULERS)
DEFAULT_STRENGTH = 0.75
"""The denoising strength of models that were not trained to fill a mask: they lose the surroundings at 1."""
OUTPUT_FORMATS = ("png", "jpeg", "webp")
DEFAULT_QUALITY = 85
"""The default of Deep-Image's API; hardly visible on photographs at a quarter of the bytes of quality 100."""
ALGORITHM_TYPES = ("none", "dpmsolver++", "sde-dpmsolver++")
SAFETY_TYPES = ("blur", "pixelate", "black", "sensitive_content_text")
PRESETS = ("draft",)
CACHE_LEVELS = ("off", "balanced", "fast")
INSERT_MODES = ("clone", "start", "reference")
INSERT_SIDES = (1.0, 100_000.0)
"""The narrowest and the widest insert, in pixels."""
INSERT_PLACES = (-100_000.0, 100_000.0)
"""The lowest and the highest coordinate of the middle of an insert, in pixels."""
MASKED_CONTENT = ("original", "fill", "noise", "nothing")
"""As in AUTOMATIC1111's web UI, whose names of the last two are latent noise and latent nothing."""
ALGORITHM_SPELLINGS = {"dpmsolver+++": "dpmsolver++"}
"""Spellings of ModelsLab."""
ALL_ENGINES = frozenset({EVERY_ENGINE})
LOSSLESS = IgnoredWhen("output_format", "png", mark("PNG files are lossless, so their quality cannot be chosen."))
FROM_NOISE = IgnoredWhen("strength", 1.0, mark("At a denoising strength of 1 nothing of the masked area is kept."))
UNGUIDED = IgnoredWhen(
    "guidance_scale", 1.0, mark("It has no effect at a guidance scale of 1, which turns guidance off.")
)


_prompt = partial(setting, group=SettingGroup.PROMPT, default="", max_length=MAX_PROMPT_CHARACTERS)
_result = partial(setting, group=SettingGroup.RESULT)
_sampling = partial(setting, group=SettingGroup.SAMPLING)
_mask = partial(setting, group=SettingGroup.MASK)
_insert = partial(setting, group=SettingGroup.INSERT, read_by=frozenset({QUICK_FILL, DIFFUSION}))
_insert_place = partial(
    _insert,
    help=mark("Where the middle of insert_image lies, in pixels of the image; of an outpainting, of its result."),
    default_text=mark("the middle of the mask"),
    unit="px",
    range=INSERT_PLACES,
)
_model = partial(setting, group=SettingGroup.MODEL)
_controlnet = partial(setting, group=SettingGroup.CONTROLNET)
_ip_adapter = partial(setting, group=SettingGroup.IP_ADAPTER)
_safety = partial(setting, group=SettingGroup.SAFETY, read_by=ALL_ENGINES)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintSettings:
    """The settings of a request. Each field is one row of the settings table; see `Setting` for the attributes.

    Raises InvalidRequest, with the field, the limit and the value, unless every field is within its limits.
    """

    prompt: str = _prompt(
        label=mark("Prompt"),
        help=mark("What should appear in the repainted area."),
        placeholder=mark("What should appear there"),
        auto_reason=mark("There is a prompt"),
    )
    negative_prompt: str = _prompt(
        label=mark("Negative prompt"),
        help=mark("What should not appear."),
        placeholder=mark("What should not"),
        ignored_when=UNGUIDED,
    )
    regions: tuple[Region, ...] = setting(
        group=SettingGroup.PROMPT,
        label=mark("Regions"),
        help=mark(
            "Parts of the image with a prompt of their own, each with a weight from 0 to 1; prompt is that of the "
            "rest. region_mask_n is the mask of entry n. Where regions overlap, their prompts are averaged by weight. "
            "A region may list LoRAs of its own, which are used there beside those of the request."
        ),
        default=(),
        max_length=MAX_REGIONS,
        option="region",
        auto_reason=mark("Regions have prompts"),
    )
    num_images: int = _result(
        label=mark("Images"),
        help=mark("Number of results."),
        default=1,
        range=(1, 8),
        aliases=("batch_size",),
        read_by=ALL_ENGINES,
    )
    seed: int = _result(
        label=mark("Seed"),
        help=mark(
            "The same request with the same seed gives the same result. Result n, counted from 0, uses seed + n."
        ),
        default=0,
        default_text=mark("random"),
        range=(0, MAX_SEED),
        read_by=frozenset({QUICK_FILL, DIFFUSION}),
    )
    output_format: str = _result(
        label=mark("File format"),
        help=mark(
            "The format of the result files. png is lossless; jpeg and webp are smaller, lossy copies of the PNG, "
            "which is kept."
        ),
        default="png",
        choices=OUTPUT_FORMATS,
        spellings={"jpg": "jpeg"},
        read_by=ALL_ENGINES,
    )
    quality: int | None = _result(
        label=mark("File quality"),
        help=sentence(
            "The quality of a JPEG or WebP file; 100 is the best and largest. The "
            "default is the quality that a JPEG source was saved with, between 75 and "
            "98, and {default_quality} for other sources.",
            default_quality=DEFAULT_QUALITY,
        ),
        default_text=sentence("the source's, else {default_quality}", default_quality=DEFAULT_QUALITY),
        range=(1, 100),
        read_by=ALL_ENGINES,
        ignored_when=LOSSLESS,
    )
    max_file_kilobytes: int | None = _result(
        label=mark("Largest file"),
        help=mark("The quality is lowered until the JPEG or WebP file has at most this many kilobytes of 1000 bytes."),
        default_text=mark("any size"),
        unit="kB",
        range=(1, 100_000),
        read_by=ALL_ENGINES,
        ignored_when=LOSSLESS,
    )
    keep_metadata: str | None = _result(
        label=mark("Keep metadata"),
        help=mark(
            "The metadata of the source that the result files keep: copyright is the EXIF author and copyright, and "
            "the rights in XMP; all adds date, camera and lens; all_with_gps adds the position. No other "
            "metadata is kept. "
            "GIF and BMP sources have none. Results with Content Credentials also keep those of the source."
        ),
        default_text=pmark("the metadata", "none"),
        choices=tuple(KINDS_BY_CHOICE),
        read_by=ALL_ENGINES,
    )
    preset: str | None = _sampling(
        label=mark("Quality"),
        help=mark(
            "draft paints with a few LCM steps and a tiny VAE, rough and fast; steps, guidance_scale, scheduler and "
            "vae take precedence where they are sent as well."
        ),
        default_text=mark("full"),
        choices=PRESETS,
        auto_reason=mark("A preset was requested"),
    )
    strength: float | None = _sampling(
        label=mark("Denoising strength"),
        help=mark("0 keeps the masked area as it is, 1 replaces it freely."),
        default_text=sentence(
            "1 for models trained to fill a mask and with an inpainting ControlNet, {default_strength:g} for others",
            default_strength=DEFAULT_STRENGTH,
        ),
        range=(0.0, 1.0),
        step=0.01,
        public_name="denoising_strength",
    )
    steps: int | None = _sampling(
        label=pmark("sampling", "Steps"),
        help=mark("Number of denoising steps."),
        default_text=pmark("the steps", "the model's"),
        range=(1, 150),
    )
    guidance_scale: float | None = _sampling(
        label=mark("Guidance scale"),
        help=mark("How closely the prompt is followed; 1 turns guidance off. Most models take up to 20."),
        default_text=pmark("the guidance scale", "the model's"),
        range=(1.0, 100.0),
        aliases=("cfg_scale",),
    )
    guidance_start: float | None = _sampling(
        label=mark("Guided from"),
        help=mark("The share of the steps after which guidance begins; 0 is the first step."),
        default_text="0",
        unit="share of the steps",
        range=(0.0, 1.0),
        ignored_when=UNGUIDED,
    )
    guidance_end: float | None = _sampling(
        label=mark("Guided until"),
        help=mark(
            "The share of the steps after which guidance ends; 1 is the last step. It must be above guidance_start."
        ),
        default_text="1",
        unit="share of the steps",
        range=(0.0, 1.0),
        ignored_when=UNGUIDED,
    )
    guidance_rescale: float | None = _sampling(
        label=mark("Guidance rescale"),
        help=mark(
            "How far the guided prediction is rescaled to the standard deviation of the prompted one, against "
            "overexposure (Lin et al. 2023, section 3.4); 0 is off."
        ),
        default_text=mark("0; 0.7 for models whose noise schedule ends in pure noise"),
        range=(0.0, 1.0),
        ignored_when=UNGUIDED,
    )
    scheduler: str | None = _sampling(
        label=mark("Scheduler"),
        help=sentence("One of {names}.", names=", ".join(ALL_SCHEDULERS)),
        default_text=pmark("the scheduler", "the model's"),
        choices=ALL_SCHEDULERS,
        choice_code="scheduler_not_found",
    )
    use_karras_sigmas: bool | None = _sampling(
        label=mark("Karras sigmas"),
        help=mark("Space the noise levels as Karras et al. 2022 do, where the scheduler supports it."),
        default_text=pmark("the sigmas", "the model's"),
    )
    algorithm_type: str | None = _sampling(
        label=mark("Algorithm type"),
        help=mark("The variant of the DPM solvers; other schedulers ignore it."),
        default_text=pmark("the algorithm", "the model's"),
        choices=ALGORITHM_TYPES,
        spellings=ALGORITHM_SPELLINGS,
    )
    lanpaint_steps: int | None = _sampling(
        label=mark("LanPaint steps"),
        help=mark(
            "Langevin steps at each noise level (LanPaint, Zheng et al. 2025), by which models that are not trained "
            "to fill a mask follow what is around it, at a denoising strength of 1 too. Each step then runs "
            "the model 1 + "
            "N times and is Euler's at the scheduler's noise levels. 5 is a good start; 0 is off."
        ),
        default_text="0",
        range=(0, 20),
    )
    clip_skip: int | None = _sampling(
        label=mark("Clip skip"),
        help=mark("The layer of the text encoder that is used, counted from the end; 1 is the last."),
        default_text="1",
        range=(1, 8),
    )
    cache: str | None = _sampling(
        label=mark("Skip blocks"),
        help=mark(
            "Faster, and a little different: a step in which the first block of the transformer changes little takes "
            "from an earlier step what the other blocks add. For models of many steps."
        ),
        default_text=pmark("a setting", "off"),
        choices=CACHE_LEVELS,
    )
    step_down: bool | None = _sampling(
        label=mark("Fallback if memory is short"),
        help=mark(
            "Let a smaller engine paint if the device's memory is too small for the model; the metadata reports it."
        ),
        default_text=pmark("a setting", "off"),
        no_option="The CLI has no such option: it reports the lack of memory.",
    )
    mask_grow: int = _mask(
        label=mark("Grow mask"),
        help=mark("Pixels by which the mask grows; a negative number shrinks it."),
        default=0,
        unit="px",
        range=(-256, 256),
        read_by=ALL_ENGINES,
    )
    mask_blur: int = _mask(
        label=mark("Fade mask"),
        help=mark(
            "Width of the ramp, inward from the edge of the mask, over which the result fades in. A diffusion model "
            "paints the outer part of the ramp in its last steps only."
        ),
        default=0,
        unit="px",
        range=(0, 256),
        read_by=ALL_ENGINES,
    )
    include_shadow: bool = _mask(
        label=mark("With its shadow"),
        help=mark("Repaint the cast shadow and the mirror image of what is marked as well, where they are found."),
        default=False,
        default_text=pmark("a setting", "off"),
        read_by=ALL_ENGINES,
    )
    masked_content: str | None = _mask(
        label=mark("Masked content"),
        help=mark(
            "What the model starts from in the masked area: the original, fill (quick-fill continues the "
            "surroundings), noise, or nothing (uniform grey)."
        ),
        default_text=mark("original"),
        choices=MASKED_CONTENT,
        ignored_when=FROM_NOISE,
    )
    width: int | None = _mask(
        label=mark("Work width"),
        help=mark("Width at which the model paints; the result keeps the size of the image."),
        default_text=pmark("the width", "the model's"),
        unit="px",
        range=(64, 2048),
    )
    height: int | None = _mask(
        label=mark("Work height"),
        help=mark("Height at which the model paints; the result keeps the size of the image."),
        default_text=pmark("the height", "the model's"),
        unit="px",
        range=(64, 2048),
    )
    only_masked_padding: int | None = _mask(
        label=mark("Mask padding"),
        help=mark(
            "Pixels of the image around the mask that the model sees. It sees more where the shape of its image or "
            "max_upscaling asks for it."
        ),
        default_text=mark("automatic"),
        unit="px",
        range=(0, 1024),
    )
    context_factor: float | None = _mask(
        label=mark("Context factor"),
        help=mark(
            "How many times as large as the mask the part of the image is that the model sees: 2 adds half of the "
            "mask's longer side on each side. With only_masked_padding the larger of the two counts."
        ),
        default_text=mark("automatic"),
        range=(1.0, 10.0),
    )
    max_upscaling: float | None = _mask(
        label=mark("Largest upscaling"),
        help=mark(
            "How many times a small masked area and its surroundings are scaled up at most for the model, which then "
            "paints it with the detail of a whole image; 1 paints at the image's own scale."
        ),
        default_text="4",
        range=(1.0, 16.0),
    )
    tiled: bool = _mask(
        label=mark("In tiles"),
        help=mark(
            "Paint a large area at the image's own size, in tiles of the model's size that overlap and fade into each "
            "other, in place of scaling it down. With a low denoising strength this adds detail to an enlarged image."
        ),
        default=False,
        default_text=pmark("a setting", "off"),
    )
    insert_x: float | None = _insert_place(label=mark("Middle of the insert, from the left"))
    insert_y: float | None = _insert_place(label=mark("Middle of the insert, from the top"))
    insert_width: float | None = _insert(
        label=mark("Width of the insert"),
        help=mark("To which insert_image is scaled before it is rotated; its height follows."),
        default_text=mark("covers the mask; with transparent parts, fits into it"),
        unit="px",
        range=INSERT_SIDES,
    )
    insert_rotation: float | None = _insert(
        label=mark("Rotation of the insert"),
        help=mark("By which insert_image is rotated about its middle, clockwise."),
        default_text="0",
        unit="°",
        range=(-180.0, 180.0),
    )
    insert_mode: str | None = _insert(
        label=mark("Insert as"),
        help=mark(
            "clone: quick-fill puts insert_image there with the light of what is around it. start: a diffusion model "
            "starts from it, and keeps the more of it the lower the denoising strength. reference: it is one more "
            "reference image, which is not placed."
        ),
        default_text=mark("reference for models that take reference images, start for others, clone for quick-fill"),
        choices=INSERT_MODES,
    )
    model: str | None = _model(
        label=mark("Model"),
        help=mark("The installed model that paints."),
        default_text=mark("the server's default"),
        catalog_kind="checkpoint",
        read_by=frozenset({ERASE, DIFFUSION}),
        auto_reason=mark("A model was requested"),
    )
    loras: tuple[LoraUse, ...] = _model(
        label=mark("LoRAs and their weights"),
        help=sentence(
            "Installed LoRAs and their weights, {value:g} to {value_2:g} (default 1), for models of their family.",
            value=LORA_WEIGHTS[0],
            value_2=LORA_WEIGHTS[1],
        ),
        default=(),
        max_length=MAX_LORAS,
        option="lora",
        auto_reason=mark("LoRAs were requested"),
    )
    embeddings: tuple[str, ...] = _model(
        label=mark("Embeddings"),
        help=mark("Installed textual-inversion embeddings; <slug> in a prompt stands for the embedding."),
        default=(),
        max_length=MAX_EMBEDDINGS,
        catalog_kind="embedding",
        option="embedding",
        auto_reason=mark("Embeddings were requested"),
    )
    vae: str | None = _model(
        label=mark("VAE"),
        help=mark("An installed VAE in place of the model's own, for models of its family."),
        default_text=mark("the model's own"),
        catalog_kind="vae",
        auto_reason=mark("A VAE was requested"),
    )
    control: str | None = _controlnet(
        label=mark("ControlNet"),
        help=mark(
            "An installed ControlNet. It is conditioned on control_image, or on the image itself where its "
            "input can be computed."
        ),
        default_text=pmark("a ControlNet", "none"),
        catalog_kind="controlnet",
        auto_reason=mark("A ControlNet was requested"),
    )
    control_strength: float | None = _controlnet(
        label=mark("ControlNet strength"),
        help=mark("The scale of the ControlNet's output."),
        range=CONTROL_STRENGTHS,
        adapter="control",
        adapter_default=1.0,
    )
    control_start: float | None = _controlnet(
        label=mark("ControlNet start"),
        help=mark("The share of the steps after which the ControlNet begins; 0 is the first step."),
        unit="share of the steps",
        range=(0.0, 1.0),
        adapter="control",
        adapter_default=0.0,
    )
    control_end: float | None = _controlnet(
        label=mark("ControlNet end"),
        help=mark("The share of the steps after which the ControlNet ends; 1 is the last step."),
        unit="share of the steps",
        range=(0.0, 1.0),
        adapter="control",
        adapter_default=1.0,
    )
    control_type: str | None = _controlnet(
        label=mark("Control type"),
        help=mark(
            "The kind of control image of a ControlNet-Union, which was trained on several; tile and inpaint only "
            "of those trained on them. For canny and inpaint it is computed from the image."
        ),
        choices=CONTROL_TYPES,
        default_text=mark("the ControlNet's own; canny for a Union"),
        adapter="control",
    )
    controls: tuple[ControlUse, ...] = _controlnet(
        label=mark("ControlNets"),
        help=mark(
            "Installed ControlNets that are applied together, each with strength, start, end and type. control and "
            "its numbers are the first of them. Entry n is conditioned on control_image_n, without one on "
            "control_image."
        ),
        default=(),
        max_length=MAX_CONTROLS,
        auto_reason=mark("ControlNets were requested"),
    )
    ip_adapter: str | None = _ip_adapter(
        label=mark("IP-Adapter"),
        help=mark("An installed IP-Adapter, which uses ip_adapter_image as an image prompt."),
        default_text=pmark("an IP-Adapter", "none"),
        catalog_kind="ip-adapter",
        auto_reason=mark("An IP-Adapter was requested"),
    )
    ip_adapter_scale: float | None = _ip_adapter(
        label=mark("IP-Adapter scale"),
        help=mark("The weight of the image prompt."),
        range=IP_ADAPTER_SCALES,
        adapter="ip_adapter",
        adapter_default=1.0,
    )
    ip_adapters: tuple[IPAdapterUse, ...] = _ip_adapter(
        label=mark("IP-Adapters"),
        help=mark(
            "Installed IP-Adapters that are applied together, each with a scale; one may be listed for several "
            "images. ip_adapter and its scale are the first of them. Entry n uses ip_adapter_image_n as its "
            "image prompt."
        ),
        default=(),
        max_length=MAX_IP_ADAPTERS,
        auto_reason=mark("IP-Adapters were requested"),
    )
    safety_checker: bool | None = _safety(
        label=mark("Safety checker"),
        help=mark(
            "Check the results before they are shown, and hide those that are flagged. true turns the checker on; "
            "false does not turn it off where the site has it on, which a warning reports. While it is on, "
            "no previews are "
            "sent."
        ),
        default_text=mark("the site's"),
        no_option="On the command line --safety-checker takes the type and turns the checker on.",
    )
    safety_checker_type: str | None = _safety(
        label=mark("Safety checker"),
        help=mark(
            "How a finding is hidden: the painted part is blurred, pixelated, made black, or replaced by grey with a "
            "sentence. A type that hides less than the site's is replaced by the site's, with a warning."
        ),
        default_text=mark("the site's, else sensitive_content_text"),
        choices=SAFETY_TYPES,
        option="safety-checker",
    )

    def __post_init__(self) -> None:
        for row in SETTINGS:
            value = getattr(self, row.name)
            if value is not None and value is not row.default:
                row.check(value)
        start, end = self.guidance_start or 0.0, 1.0 if self.guidance_end is None else self.guidance_end
        if start >= end:
            raise InvalidRequest(
                sentence(
                    "guidance_start is {start:g} and guidance_end {end:g}; it must start before it ends.",
                    start=start,
                    end=end,
                ),
                field="guidance_start",
            )
        if self.control_start is not None and self.control_end is not None and self.control_start > self.control_end:
            raise InvalidRequest(
                sentence(
                    "control_start is {start}, after control_end, which is {end}.",
                    start=self.control_start,
                    end=self.control_end,
                ),
                field="control_start",
            )
        for adapters in ADAPTER_LISTS:
            adapters.check(self)
        count = len(self.lora_slugs)
        description = sentence("The request and its regions name {count} LoRAs", count=count)
        check_count(Region.SETTING, count, MAX_LORAS, description)

    @property
    def lora_slugs(self) -> tuple[str, ...]:
        """The LoRAs of the request and of its regions, each once."""
        uses = (*self.loras, *(use for region in self.regions for use in region.loras))
        return tuple(dict.fromkeys(use.slug for use in uses))

    @property
    def control_uses(self) -> tuple[ControlUse, ...]:
        """All ControlNets, whether they were named by `controls` or by `control`."""
        return CONTROLS.uses(self)

    @property
    def ip_adapter_uses(self) -> tuple[IPAdapterUse, ...]:
        """All IP-Adapters, whether they were named by `ip_adapters` or by `ip_adapter`."""
        return IP_ADAPTERS.uses(self)

    def to_dict(self, *, exclude_defaults: bool = False) -> dict[str, Any]:
        """Return the fields as `dataclasses.asdict` does, optionally without those that equal their default."""
        values = {row.name: getattr(self, row.name) for row in SETTINGS}
        if exclude_defaults:
            values = {row.name: values[row.name] for row in SETTINGS if values[row.name] != row.default}
        for name in USES.keys() & values.keys():
            values[name] = tuple(map(entry_to_dict, values[name]))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PaintSettings:
        """Build settings from what `to_dict` returned, also after a round trip through JSON.

        Raises InvalidRequest for unknown names too, which a later release may have stored.
        """
        unknown = sorted(values.keys() - {row.name for row in SETTINGS})
        if unknown:
            raise InvalidRequest(sentence("Unknown settings: {names}.", names=", ".join(unknown)), field=unknown[0])
        uses = {
            name: tuple(entry_from_dict(use, entry) for entry in values.get(name, ())) for name, use in USES.items()
        }
        named = {**values, **uses, "embeddings": tuple(values.get("embeddings", ()))}
        stored = named.get("algorithm_type")
        if stored in ALGORITHM_SPELLINGS:
            named["algorithm_type"] = ALGORITHM_SPELLINGS[stored]
        return cls(**named)


USES: dict[str, type[LoraUse | ListEntry]] = {
    "loras": LoraUse,
    Region.SETTING: Region,
    **{adapters.setting: adapters.use for adapters in ADAPTER_LISTS},
}
"""Settings that are lists of objects -> their class."""
SETTINGS = rows_of(PaintSettings)
"""All rows, in the order of their declaration."""
RANGES = {row.name: row.range for row in SETTINGS if row.range is not None}
"""Setting -> the lowest and the highest number, both allowed."""
PUBLIC_NAMES = {row.name: row.public_name for row in SETTINGS}
"""Setting -> its name in the API."""
GUIDANCE_SETTINGS = frozenset(row.name for row in SETTINGS if row.ignored_when is UNGUIDED)
"""Settings of classifier-free guidance (Ho and Salimans 2022), for model families that have none."""
INSERT_SETTINGS = frozenset(row.name for row in SETTINGS if row.group is SettingGroup.INSERT)
"""Settings of the image to insert, without effect where there is none."""
_BY_NAME = {row.name: row for row in SETTINGS}


def find_setting(name: str) -> Setting:
    """Return the row of that setting. Raises KeyError."""
    return _BY_NAME[name]


def public_names(names: Iterable[str]) -> list[str]:
    """Return the names of settings in the API, sorted."""
    return sorted(PUBLIC_NAMES.get(name, name) for name in names)


def settings_ignored_by(engine: str) -> frozenset[str]:
    """Return the names of the settings that never affect what this engine paints.

    An engine that no row names reads what every engine reads; it may declare more.
    """
    return frozenset(row.name for row in SETTINGS if not row.is_read_by(engine))


def find_ignored(resolved: PaintSettings) -> dict[str, str]:
    """Return the settings that have no effect because of the value of another one: name -> the reason, a sentence."""
    conditions = [(row.name, row.ignored_when) for row in SETTINGS if row.ignored_when is not None]
    return {name: when.reason for name, when in conditions if getattr(resolved, when.setting) == when.value}


def auto_reason(settings: PaintSettings) -> str:
    """Return why the engine `auto` should take diffusion, as the beginning of a sentence; "" without a reason."""
    for row in SETTINGS:
        value = getattr(settings, row.name)
        if row.auto_reason and (value.strip() if isinstance(value, str) else value):
            return row.auto_reason
    return ""
