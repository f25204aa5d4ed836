"""The one request type that every surface makes and every engine reads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from inpainting.core.errors import InvalidRequest
from inpainting.core.picture import Mask, Picture

MAX_SEED = 2**63 - 1
MAX_DIGITS = 24
"""Of a whole number in an error. Floats are at most as long, and so is every number that is asked for in earnest."""
MAX_PROMPT_CHARACTERS = 10_000
MAX_SLUG_CHARACTERS = 64
SLUG = rf"^[a-z0-9][a-z0-9._-]{{0,{MAX_SLUG_CHARACTERS - 1}}}\Z"
"""What models, LoRAs and parts of the catalog are called by."""
RANGES: dict[str, tuple[float, float]] = {
    "strength": (0.0, 1.0),
    "seed": (0, MAX_SEED),
    "num_images": (1, 8),
    "mask_grow": (-256, 256),
    "mask_blur": (0, 256),
    "only_masked_padding": (0, 1024),
    "steps": (1, 150),
    "guidance_scale": (1.0, 100.0),
    "width": (64, 2048),
    "height": (64, 2048),
    "clip_skip": (1, 8),
    "guidance_start": (0.0, 1.0),
    "guidance_end": (0.0, 1.0),
    "control_strength": (0.0, 2.0),
    "control_start": (0.0, 1.0),
    "control_end": (0.0, 1.0),
    "ip_adapter_scale": (0.0, 1.0),
}
"""The lowest and the highest value of each number, both allowed. Of guidance most models take less: see
`catalog.most_guidance`."""
LORA_WEIGHTS = (-2.0, 2.0)
"""The lowest and the highest weight of a LoRA; 1 is as it was trained, a negative one leads away from it."""
MAX_LORAS = 8
MAX_EMBEDDINGS = 8
SCHEDULERS = (
    *("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler"),
    *("EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "DPMSolverSinglestepScheduler", "KDPM2AncestralDiscreteScheduler"),
    *("UniPCMultistepScheduler", "DDIMInverseScheduler", "DEISMultistepScheduler", "IPNDMScheduler"),
    *("KarrasVeScheduler", "ScoreSdeVeScheduler", "LCMScheduler"),
)
"""The public names, as diffusers has them."""
FLOW_SCHEDULERS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
"""Further names: of what drives models of flow matching, and nothing else."""
ALL_SCHEDULERS = (*SCHEDULERS, *FLOW_SCHEDULERS)
ALGORITHM_TYPES = ("none", "dpmsolver++", "dpmsolver+++", "sde-dpmsolver++")
"""Of the DPM solvers; one published service writes three plusses and means two."""
SAFETY_TYPES = ("blur", "pixelate", "black", "sensitive_content_text")
"""What the safety checker may do with what it finds; see `core.moderation.hiding`."""
PRESETS = ("draft",)
"""Bundles of settings. `draft`: a few LCM steps, decoded by a tiny VAE."""
NAMES = {"algorithm_type": ALGORITHM_TYPES, "preset": PRESETS, "safety_checker_type": SAFETY_TYPES}
"""The fields that say one of a few names, and which."""


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA of the catalog by its slug, and how strongly it works. Raises InvalidRequest for a weight out of range and
    for what is no slug."""

    slug: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_slug(self.slug, field="loras")
        within("weight", self.weight, *LORA_WEIGHTS, field="loras")


@dataclass(frozen=True, slots=True)
class PaintSettings:
    """How to paint. Checked when built; raises InvalidRequest with the field, the limit and what was seen.

    strength: 0 (leave it) to 1 (invent freely). seed: 0 to 2**63-1; a request that is submitted with 0 leaves it to
    whoever accepts it. mask_grow: pixels, negative shrinks.
    mask_blur: width in pixels of the ramp that fades the painting in, inward from the mask's edge.

    None is the engine's own choice: steps of denoising; guidance_scale, how closely the prompt is followed; scheduler,
    one of ALL_SCHEDULERS; width and height, pixels at which the engine works; only_masked_padding, pixels of the
    picture that it sees around the mask; model, a slug of the catalog; clip_skip, which of the text encoder's layers is
    read, counted from its end, 1 being the last; use_karras_sigmas, noise levels spaced as by Karras et al. 2022;
    algorithm_type, one of ALGORITHM_TYPES; preset, one of PRESETS, which fills in what is not said.

    step_down: where the device's memory is too small, a smaller engine may paint.

    guidance_start, guidance_end: between which shares of the steps guidance is applied; None is from the first, to the
    last.

    loras: up to MAX_LORAS that change the model for this request, each at most once.

    embeddings: slugs of up to MAX_EMBEDDINGS whose `<slug>` in the prompts stands for what was learned, each at most
    once. vae: the slug of what turns pictures into latents and back, in place of the model's own.

    control: the slug of a ControlNet that leads the painting, control_strength how strongly, control_start and
    control_end in which share of the steps. ip_adapter: the slug of an IP-Adapter, by which the request's
    `ip_adapter_image` is a prompt in pictures, and ip_adapter_scale how strongly it is heard.

    safety_checker: whether a network looks at what was painted before anybody else does; safety_checker_type, one of
    SAFETY_TYPES, is what becomes of what it finds. None is whatever holds where it is painted
    (`core.moderation.policy`).
    """

    prompt: str = ""
    negative_prompt: str = ""
    strength: float = 0.75
    seed: int = 0
    num_images: int = 1
    mask_grow: int = 0
    mask_blur: int = 0
    only_masked_padding: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    model: str | None = None
    clip_skip: int | None = None
    use_karras_sigmas: bool | None = None
    algorithm_type: str | None = None
    preset: str | None = None
    step_down: bool | None = None
    guidance_start: float | None = None
    guidance_end: float | None = None
    loras: tuple[LoraUse, ...] = ()
    embeddings: tuple[str, ...] = ()
    vae: str | None = None
    control: str | None = None
    control_strength: float | None = None
    control_start: float | None = None
    control_end: float | None = None
    ip_adapter: str | None = None
    ip_adapter_scale: float | None = None
    safety_checker: bool | None = None
    safety_checker_type: str | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt"):
            text: str = getattr(self, name)
            at_most(name, len(text), MAX_PROMPT_CHARACTERS, f"{name} has {len(text)} characters")
            if "\x00" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
                raise InvalidRequest(f"{name} holds characters that are not text.", field=name)
        for name, (lowest, highest) in RANGES.items():
            number: float | None = getattr(self, name)
            if number is not None:
                within(name, number, lowest, highest)
        if self.scheduler is not None and self.scheduler not in ALL_SCHEDULERS:
            raise InvalidRequest(
                f"There is no scheduler of that name; the schedulers are: {', '.join(ALL_SCHEDULERS)}.",
                code="scheduler_not_found",
                field="scheduler",
            )
        for name, known in NAMES.items():
            said: str | None = getattr(self, name)
            if said is not None and said not in known:
                raise InvalidRequest(f"There is no {name} of that name; there are: {', '.join(known)}.", field=name)
        start, end = self.guidance_start or 0.0, 1.0 if self.guidance_end is None else self.guidance_end
        if start >= end:
            raise InvalidRequest(
                f"guidance_start is {start:g} and guidance_end {end:g}; it must start before it ends.",
                field="guidance_start",
            )
        if self.control_start is not None and self.control_end is not None and self.control_start > self.control_end:
            raise InvalidRequest(
                f"control_start is {self.control_start}, after control_end, which is {self.control_end}.",
                field="control_start",
            )
        at_most("loras", len(self.loras), MAX_LORAS, f"{len(self.loras)} LoRAs were asked for")
        if len({use.slug for use in self.loras}) < len(self.loras):
            raise InvalidRequest("Each LoRA may be asked for once.", field="loras")
        at_most("embeddings", len(self.embeddings), MAX_EMBEDDINGS, f"{len(self.embeddings)} embeddings were asked for")
        for slug in self.embeddings:
            check_slug(slug, field="embeddings")
        if len(set(self.embeddings)) < len(self.embeddings):
            raise InvalidRequest("Each embedding may be asked for once.", field="embeddings")

    def made(self) -> dict[str, Any]:
        """The fields that are other than where nobody says anything, and what `dataclasses.asdict` tells of them."""
        told = asdict(self)
        return {one.name: told[one.name] for one in fields(self) if getattr(self, one.name) != one.default}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> PaintSettings:
        """The settings that `dataclasses.asdict` or `made` told of, also after they were JSON.

        Raises InvalidRequest too for those that another version of this program knew.
        """
        unknown = sorted(fields.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise InvalidRequest(f"There are settings that are not known here: {', '.join(unknown)}.", field=unknown[0])
        loras = tuple(LoraUse(**use) for use in fields.get("loras", ()))
        return cls(**{**fields, "loras": loras, "embeddings": tuple(fields.get("embeddings", ()))})


@dataclass(frozen=True, slots=True, eq=False)
class InpaintRequest:
    """A picture, what to repaint in it (house form: [height, width], 255 = repaint), and how.

    control_image: what `settings.control` is led by, where it is not computed from the picture itself; of the
    picture's size. ip_adapter_image: what `settings.ip_adapter` is to look at; of any size.
    """

    image: Picture
    mask: Mask
    settings: PaintSettings = field(default_factory=PaintSettings)
    control_image: Picture | None = None
    ip_adapter_image: Picture | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.uint8:
            raise InvalidRequest(f"a mask is [height, width] of 8 bits, got {self.mask.shape} {self.mask.dtype}")
        if self.mask.shape != self.image.pixels.shape[:2]:
            height, width = self.mask.shape
            raise InvalidRequest(
                f"mask is {width}x{height}, image is {self.image.size}", code="mask_size_mismatch", field="mask"
            )
        if self.control_image is not None and self.control_image.size != self.image.size:
            raise InvalidRequest(
                f"control_image is {self.control_image.size}, image is {self.image.size}", field="control_image"
            )
        view = self.mask.view()
        view.flags.writeable = False
        object.__setattr__(self, "mask", view)


def check_slug(slug: str, *, field: str) -> None:
    """Raise InvalidRequest unless it is like a slug; what it is stays unsaid, since it may be no text at all."""
    if not re.match(SLUG, slug):
        raise InvalidRequest(
            f"A slug in {field} is 1 to {MAX_SLUG_CHARACTERS} of the characters a-z 0-9 . _ - and begins with a letter "
            "or a digit.",
            field=field,
        )


def at_most(name: str, count: int, limit: int, seen: str) -> None:
    """Raise InvalidRequest where there are more than allowed. seen: how many there are, in words."""
    if count > limit:
        raise InvalidRequest(
            f"{seen}; at most {limit} are allowed.", code="field_out_of_range", field=name, limit=limit, actual=count
        )


def within(name: str, value: float, lowest: float, highest: float, *, field: str = "") -> None:
    """Raise InvalidRequest unless lowest <= value <= highest (NaN is never within). field: where it is part of one."""
    if not lowest <= value <= highest:
        seen = shown(value)
        raise InvalidRequest(
            f"{name} is {seen}; it must be between {lowest} and {highest}.",
            code="field_out_of_range",
            field=field or name,
            limit=highest if value > highest else lowest,
            actual=value if seen == str(value) and math.isfinite(value) else seen,
        )


def shown(number: float) -> str:
    """A number as errors and warnings tell it: of a long whole one its beginning."""
    text = str(number)
    return text if len(text) <= MAX_DIGITS else f"{text[:MAX_DIGITS]}… ({len(text)} characters)"
