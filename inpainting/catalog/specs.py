"""Specifications of models, adapters and LoRAs: family, source of the weights, licence, defaults, aliases."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from inpainting import families
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import Sentence, pmark, sentence
from inpainting.core.setting import ValueType
from inpainting.core.settings_table import DEFAULT_STRENGTH, FLOW_SCHEDULERS, RANGES, SETTINGS, PaintSettings
from inpainting.core.validation import SLUG, check_range

REVISION = r"^[0-9a-f]{40}\Z"


class Kind(StrEnum):
    """A checkpoint, which paints by itself, or the kind of an adapter for checkpoints of its family."""

    CHECKPOINT = "checkpoint"
    VAE = "vae"
    EMBEDDING = "embedding"
    CONTROLNET = "controlnet"
    IP_ADAPTER = "ip-adapter"


ADAPTER_SETTINGS = {
    row.name: Kind(row.catalog_kind)
    for row in SETTINGS
    if row.type is ValueType.CATALOG_NAME and Kind(row.catalog_kind) is not Kind.CHECKPOINT
}
"""Settings that name one VAE or adapter of the catalog -> its kind."""
ADAPTER_LABELS = {
    Kind.VAE: "VAE",
    Kind.EMBEDDING: pmark("a kind of adapter", "embedding"),
    Kind.CONTROLNET: "ControlNet",
    Kind.IP_ADAPTER: "IP-Adapter",
}
"""Adapter kinds in messages."""


class ControlImageKind(StrEnum):
    """Kind of control image of a ControlNet. The caller sends it, unless it is among COMPUTED_CONTROLS."""

    INPAINT = "inpaint"
    CANNY = "canny"
    DEPTH = "depth"
    SCRIBBLE = "scribble"
    TILE = "tile"
    OPENPOSE = "openpose"
    LINEART = "lineart"
    SOFTEDGE = "softedge"
    NORMAL = "normal"
    SEGMENT = "segment"
    UNION = "union"
    """A ControlNet that was trained on several kinds; the setting `control_type` chooses one of them."""


COMPUTED_CONTROLS = frozenset({ControlImageKind.INPAINT, ControlImageKind.CANNY})
"""Computed from the source image."""


class LoraKind(StrEnum):
    """A LoRA for a subject or style, or one distilled to few steps by a published method."""

    STYLE = "style"
    LCM = "lcm"
    LIGHTNING = "lightning"
    HYPER = "hyper"
    TURBO = "turbo"
    DMD2 = "dmd2"
    PCM = "pcm"
    TCD = "tcd"


@dataclass(frozen=True, slots=True)
class FewSteps:
    """Sampling settings of a model distilled to few steps; a guidance scale of 1 is none, None the model's own.

    is_trailing: timesteps are spaced back from the last one, as in training (`timestep_spacing="trailing"`).
    flow_shift: by which the noise levels of flow matching are shifted, at every size; None is as the model's own.
    """

    steps: int
    guidance_scale: float | None
    scheduler: str
    is_trailing: bool
    flow_shift: float | None = None

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings that it replaces, by name."""
        values = {"steps": self.steps, "guidance_scale": self.guidance_scale, "scheduler": self.scheduler}
        return {name: value for name, value in values.items() if value is not None}


FEW_STEPS = {
    LoraKind.LCM: FewSteps(4, 1.0, "LCMScheduler", is_trailing=False),
    LoraKind.LIGHTNING: FewSteps(4, 1.0, "EulerDiscreteScheduler", is_trailing=True),
    LoraKind.HYPER: FewSteps(8, 1.0, "DDIMScheduler", is_trailing=True),
    LoraKind.TURBO: FewSteps(4, 1.0, "EulerAncestralDiscreteScheduler", is_trailing=True),
    LoraKind.DMD2: FewSteps(4, 1.0, "LCMScheduler", is_trailing=False),
    LoraKind.PCM: FewSteps(4, 1.0, "DDIMScheduler", is_trailing=True),
    LoraKind.TCD: FewSteps(4, 1.0, "DDIMScheduler", is_trailing=True),
}
"""As published, of models that predict noise: LCM-LoRA (Luo et al. 2023, arXiv 2311.05556), SDXL-Lightning (Lin et al.
2024, arXiv 2402.13929), Hyper-SD (Ren et al. 2024, arXiv 2404.13686), SD and SDXL Turbo (Sauer et al. 2023, arXiv
2311.17042), DMD2 (Yin et al. 2024, arXiv 2405.14867), PCM (Wang et al. 2024, arXiv 2405.18407) and TCD (Zheng et al.
2024, arXiv 2402.19159), whose own scheduler without noise (eta 0) is DDIM's."""
FLOW_EULER, _ = FLOW_SCHEDULERS
FLOW_FEW_STEPS = {
    LoraKind.LIGHTNING: FewSteps(8, 1.0, FLOW_EULER, is_trailing=False, flow_shift=3.0),
    LoraKind.HYPER: FewSteps(8, None, FLOW_EULER, is_trailing=False),
    LoraKind.TURBO: FewSteps(8, None, FLOW_EULER, is_trailing=False),
}
"""As published, of flow-matching models: Qwen-Image-Lightning, Hyper-FLUX.1-dev and FLUX.1-Turbo-Alpha. The guidance of
the last two is that of FLUX.1 [dev], on which others were trained with scales of their own."""


def few_steps_of(kind: LoraKind, family: str) -> FewSteps | None:
    """Return the sampling settings of a kind of few-step LoRAs for models of a family; None where it has none such."""
    known = families.get(family)
    if known.lora is None or kind not in known.lora.few_step_kinds:
        return None
    return (FLOW_FEW_STEPS if FLOW_EULER in known.schedulers else FEW_STEPS)[kind]


class Source(StrEnum):
    HUB = "hub"
    FOLDER = "folder"
    FILE = "file"
    URL = "url"


REMOTE = (Source.HUB, Source.URL)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that an engine can load. Checked when built; raises InvalidRequest.

    control: kind of control image, of ControlNets only.
    repo, revision: on the hub, or the https address of a single file, with `#sha256=…` or `#md5=…` where its publisher
    names that hash; revision is a full commit hash, or "" for the newest at the first pull.
    variant: preferred variant of the weights, such as "fp16"; "" is the plain one. Where a repository has several ONNX
    files, embeddings or IP-Adapters, the name of the file without suffix.
    size_bytes: of the download, None until a pull has asked the hub. memory_bytes: estimated need of one painting at
    the default size.
    steps, guidance_scale, strength, scheduler (one of its family's), width and height in pixels: defaults of requests.
    aliases: names that clients of other services send. path: the installed folder or file.
    """

    slug: str
    label: str
    family: str
    kind: Kind = Kind.CHECKPOINT
    control: ControlImageKind | None = None
    source: Source = Source.HUB
    repo: str = ""
    revision: str = ""
    variant: str = ""
    licence: str = ""
    licence_url: str = ""
    size_bytes: int | None = None
    memory_bytes: int | None = None
    steps: int = 30
    guidance_scale: float = 7.5
    strength: float = DEFAULT_STRENGTH
    scheduler: str = "DPMSolverMultistepScheduler"
    width: int = 512
    height: int = 512
    aliases: tuple[str, ...] = ()
    path: Path | None = None

    def __post_init__(self) -> None:
        check_slug(self.slug)
        if (self.control is not None) != (self.kind is Kind.CONTROLNET):
            raise InvalidRequest(
                sentence(
                    "A ControlNet, and no other model, has a kind of control image: {kinds}.",
                    kinds=", ".join(ControlImageKind),
                )
            )
        if self.revision and not re.match(REVISION, self.revision):
            raise InvalidRequest(sentence("A revision is a whole commit hash of 40 characters."), field="revision")
        for name in ("steps", "guidance_scale", "strength", "width", "height"):
            check_range(name, getattr(self, name), *RANGES[name])
        if self.kind is Kind.CHECKPOINT:
            highest = families.get(self.family).max_guidance_scale
            check_range("guidance_scale", self.guidance_scale, RANGES["guidance_scale"][0], highest)
            check_scheduler(self.scheduler, self.family)

    def strength_of(self, settings: PaintSettings) -> float:
        """Return the denoising strength of a request."""
        return self.strength if settings.strength is None else settings.strength


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """A LoRA for models of the family. Checked when built; raises InvalidRequest.

    steps: the number that it was distilled to, None for the usual one of its kind. trigger: trigger words, shown to
    people. digest: SHA-256 of the file. path: the installed `.safetensors` file.
    """

    slug: str
    label: str
    family: str
    kind: LoraKind = LoraKind.STYLE
    steps: int | None = None
    trigger: str = ""
    digest: str = ""
    path: Path | None = None

    def __post_init__(self) -> None:
        check_slug(self.slug)
        if self.steps is not None:
            check_range("steps", self.steps, *RANGES["steps"])

    @property
    def few_steps(self) -> FewSteps | None:
        """Sampling settings that replace the model's; None for a LoRA that is not distilled."""
        published = few_steps_of(self.kind, self.family)
        return published if published is None or self.steps is None else replace(published, steps=self.steps)


@dataclass(frozen=True, slots=True)
class PresetAdapters:
    """Slugs of the LCM LoRA and the tiny VAE of the preset `draft`; None where none is installed."""

    lora: str | None = None
    vae: str | None = None

    def missing(self, family: str) -> list[Sentence]:
        """Return what is not installed, each with the command that installs it."""
        missing = []
        if self.lora is None:
            missing.append(sentence("a LoRA of the kind lcm (add_lora … --kind lcm)"))
        if self.vae is None:
            missing.append(sentence("a tiny VAE (pull_model {slug})", slug=families.get(family).preview_decoder))
        return missing


def check_slug(slug: str) -> None:
    """Raise InvalidRequest unless it is 1 to 64 of a-z, 0-9, `.`, `_`, `-` that begin with a letter or a digit."""
    if not re.match(SLUG, slug):
        raise InvalidRequest(
            sentence("A model's slug is 1 to 64 of the characters a-z 0-9 . _ - and begins with a letter or a digit."),
            code="model_slug_invalid",
            field="model",
            actual=slug[:80],
        )


def check_scheduler(name: str, family: str) -> None:
    """Raise InvalidRequest, `scheduler_unfit`, for a scheduler that models of the family do not support."""
    schedulers = families.get(family).schedulers
    if name not in schedulers:
        raise InvalidRequest(
            sentence(
                "Models of the family {family} do not support {name}; supported are {names}.",
                family=family,
                name=name,
                names=", ".join(schedulers),
            ),
            code="scheduler_unfit",
            field="scheduler",
            actual=name[:80],
        )


def install_hint(slug: str, label: str) -> str:
    """Return the message for a request for a model that is not installed."""
    return sentence(
        "The model {label} is not installed; “python manage.py pull_model {slug}” gets it.", label=label, slug=slug
    )
