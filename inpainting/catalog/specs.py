"""What a model is: family, where its weights come from, licence, defaults and other names."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from inpainting.catalog import families
from inpainting.core.errors import InvalidRequest
from inpainting.core.setting import ValueType
from inpainting.core.settings_table import RANGES, SETTINGS
from inpainting.core.validation import SLUG, check_range

REVISION = r"^[0-9a-f]{40}\Z"


class Kind(StrEnum):
    """What a model is for: to paint with, or a part that a checkpoint of its family paints with or wears."""

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
PART_LABELS = {
    Kind.VAE: "VAE",
    Kind.EMBEDDING: "embedding",
    Kind.CONTROLNET: "ControlNet",
    Kind.IP_ADAPTER: "IP-Adapter",
}
"""What people call a part."""


class Control(StrEnum):
    """What a ControlNet looks at. The first two are computed from the picture; of the others the caller sends it."""

    INPAINT = "inpaint"
    CANNY = "canny"
    DEPTH = "depth"
    SCRIBBLE = "scribble"
    TILE = "tile"


COMPUTED_CONTROLS = frozenset({Control.INPAINT, Control.CANNY})


class LoraKind(StrEnum):
    """What a LoRA is for: a subject or a look, or painting in few steps by one of the published ways."""

    STYLE = "style"
    LCM = "lcm"
    LIGHTNING = "lightning"
    HYPER = "hyper"


@dataclass(frozen=True, slots=True)
class FewSteps:
    """How a model paints after it was distilled to few steps; a guidance of 1 is none.

    is_trailing: the steps are counted from the very end of the noise (`timestep_spacing="trailing"`), as when trained.
    """

    steps: int
    guidance_scale: float
    scheduler: str
    is_trailing: bool

    @property
    def usual(self) -> dict[str, Any]:
        """By the names of the settings that it replaces."""
        return {"steps": self.steps, "guidance_scale": self.guidance_scale, "scheduler": self.scheduler}


FEW_STEPS = {
    LoraKind.LCM: FewSteps(4, 1.0, "LCMScheduler", is_trailing=False),
    LoraKind.LIGHTNING: FewSteps(4, 1.0, "EulerDiscreteScheduler", is_trailing=True),
    LoraKind.HYPER: FewSteps(8, 1.0, "DDIMScheduler", is_trailing=True),
}
"""As their publishers say: LCM-LoRA (Luo et al. 2023, arXiv 2311.05556), SDXL-Lightning (Lin et al. 2024, arXiv
2402.13929), Hyper-SD (Ren et al. 2024, arXiv 2404.13686)."""


class Source(StrEnum):
    """Where the weights come from."""

    HUB = "hub"
    FOLDER = "folder"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that an engine can load. Checked when built; raises InvalidRequest.

    control: what a ControlNet looks at, None of all others.
    repo, revision: the hub's, where it comes from there; revision is a whole commit hash, or "" for the newest at the
    first pull. variant: the preferred flavour of the weights' files, such as "fp16"; "" is the plain one. Of several
    ONNX files, embeddings or IP-Adapters it is the name of the one that is meant, without its ending.
    size_bytes: what a pull downloads, None where nobody knows before it asks. disk_bytes, memory_bytes: what the
    installed files and a painting at the default size take, where known; estimates.
    steps, guidance_scale, scheduler (one of its family's), width and height in pixels: used where a request
    says nothing.
    aliases: names by which other services' clients ask for it. path: the installed folder or file.
    """

    slug: str
    label: str
    family: str
    kind: Kind = Kind.CHECKPOINT
    control: Control | None = None
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
    scheduler: str = "DPMSolverMultistepScheduler"
    width: int = 512
    height: int = 512
    aliases: tuple[str, ...] = ()
    path: Path | None = None

    def __post_init__(self) -> None:
        check_slug(self.slug)
        if (self.control is not None) != (self.kind is Kind.CONTROLNET):
            raise InvalidRequest(f"A ControlNet, and nothing else, says what it looks at: {', '.join(Control)}.")
        if self.revision and not re.match(REVISION, self.revision):
            raise InvalidRequest("A revision is a whole commit hash of 40 characters.", field="revision")
        for name in ("steps", "guidance_scale", "width", "height"):
            check_range(name, getattr(self, name), *RANGES[name])
        if self.kind is Kind.CHECKPOINT:
            highest = families.get(self.family).max_guidance_scale
            check_range("guidance_scale", self.guidance_scale, RANGES["guidance_scale"][0], highest)
            check_scheduler(self.scheduler, self.family)

    @property
    def disk_bytes(self) -> int | None:
        """Free bytes that a pull wants: the files once, for they are moved into place and never copied."""
        return self.size_bytes


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Small weights that change a model of the family. Checked when built; raises InvalidRequest.

    steps: those that one for few steps was distilled to, None where its kind says it. trigger: words that a prompt
    must hold for it to work, for people. digest: SHA-256 of the file. path: the installed `.safetensors` file.
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
        """How it wants to be painted with; None where it is as with the model alone."""
        usual = FEW_STEPS.get(self.kind)
        return usual if usual is None or self.steps is None else replace(usual, steps=self.steps)


@dataclass(frozen=True, slots=True)
class DraftParts:
    """What the preset `draft` puts on a model: the slugs of an LCM LoRA and of a tiny VAE; None where none is here."""

    lora: str | None = None
    vae: str | None = None

    @property
    def lacking(self) -> list[str]:
        """In words, with what helps."""
        lacks = []
        if self.lora is None:
            lacks.append("a LoRA of the kind lcm (add_lora … --kind lcm)")
        if self.vae is None:
            lacks.append("a tiny VAE (pull_model taesd, or taesdxl for SDXL)")
        return lacks


def check_slug(slug: str) -> None:
    """Raises InvalidRequest for anything but 1 to 64 of a-z, 0-9, `.`, `_`, `-`, the first a letter or a digit."""
    if not re.match(SLUG, slug):
        raise InvalidRequest(
            "A model's slug is 1 to 64 of the characters a-z 0-9 . _ - and begins with a letter or a digit.",
            code="model_slug_invalid",
            field="model",
            actual=slug[:80],
        )


def check_scheduler(name: str, family: str) -> None:
    """Raises InvalidRequest, `scheduler_unfit`, for one that models of the family are not driven by."""
    schedulers = families.get(family).schedulers
    if name not in schedulers:
        raise InvalidRequest(
            f"{name} does not drive models of the family {family}; these do: {', '.join(schedulers)}.",
            code="scheduler_unfit",
            field="scheduler",
            actual=name[:80],
        )


def how_to_get(slug: str, label: str) -> str:
    """One sentence for whoever asked for a model that is not on the machine."""
    return f"The model {label} is not installed; “python manage.py pull_model {slug}” gets it."
