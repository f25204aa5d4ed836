"""What the loop keeps of each request and of each picture, and which pictures share calls of the UNet."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Step
from inpainting.engines.diffusion import previews
from inpainting.engines.diffusion.backends.base import Backend
from inpainting.engines.diffusion.conditioning.active_adapters import NO_ADAPTERS, ActiveAdapters
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompt
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors
from inpainting.engines.diffusion.denoising import DenoisingState, TextConditioning
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.serving.batch_tuner import BatchSizeTuner

MAX_ROWS = 32
"""Of the UNet's batch."""
ALL = sys.maxsize


@dataclass(frozen=True, slots=True)
class JobFailed:
    error: Exception


@dataclass(frozen=True, slots=True, eq=False)
class JobSucceeded:
    pictures: list[NDArray[np.uint8]]
    notes: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Job:
    """One request: what its caller hears, and what has become of its pictures."""

    request: InpaintRequest
    spec: ModelSpec
    fittings: ActiveAdapters = NO_ADAPTERS
    compiled: Backend | None = None
    """What computes it from its first step to its last; None is torch."""
    messages: SimpleQueue[Step | JobFailed | JobSucceeded] = field(default_factory=SimpleQueue)
    is_done: bool = False
    """Ended, failed, or left by its caller: nothing more is done for it."""
    embeddings: Sequence[ModelSpec] = ()
    """They change the words alone: those with others share calls of the UNet."""
    vectors: Sequence[EmbeddingVectors] | None = None
    """What they give the model's text encoders; None while they are not read."""
    text: TextConditioning | None = None
    chunks: int = 0
    """How many chunks of words the UNet hears, 0 while that is not counted."""
    vae: Any | None = None
    """Another in place of the model's own, from the first picture's beginning to the last one's end."""
    lead: ControlNetConditioning | None = None
    image_prompt: ImagePrompt | None = None
    notes: list[str] = field(default_factory=list)
    pictures: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    steps_done: int = 0
    steps_of: int = 0
    previewed_at: float = 0.0

    @property
    def size(self) -> Size:
        return self.request.image.size

    def note(self, *sentences: str) -> None:
        self.notes += [sentence for sentence in sentences if sentence not in self.notes]

    def fail(self, error: Exception) -> None:
        self.is_done = True
        self.messages.put(JobFailed(error))


@dataclass(frozen=True, slots=True)
class Key:
    """Equal for pictures that may share calls of the UNet: of one model, at one size, with the same fittings and as
    many words, computed by the same means.

    chunks: of words, 0 while that is not counted. is_compiled: by what the model has compiled, else by torch.
    """

    slug: str
    size: Size
    fittings: ActiveAdapters
    chunks: int
    is_compiled: bool


@dataclass(slots=True, eq=False)
class StepBatch:
    """Pictures that share calls of the UNet, while there are any: it holds its model in memory.

    Groups of one model with other fittings take turns: each puts its own on.

    tuner: what is known of all with this key. at_once: how many pictures fit into memory, as far as that is known.
    """

    model: LatentModel
    key: Key
    tuner: BatchSizeTuner
    samples: list[InFlightSample] = field(default_factory=list)
    at_once: int = ALL
    last_stepped: float = 0.0

    @property
    def fittings(self) -> ActiveAdapters:
        return self.key.fittings

    @property
    def compiled(self) -> Backend | None:
        """What computes it; None is torch. Looked up, not held: what nobody is painted with may be put away."""
        return self.model.networks.get((self.key.size, self.fittings.loras)) if self.key.is_compiled else None

    @property
    def rows(self) -> int:
        """Of the UNet's batch, in the next step."""
        return rows_of(self.samples)

    @property
    def max_rows(self) -> int:
        """As many as any step to come takes: who starts or ends guidance in between counts with it."""
        return sum(one.denoising.max_rows for one in self.samples)


@dataclass(slots=True, eq=False)
class InFlightSample:
    """One picture of a job that is being denoised."""

    job: Job
    index: int
    denoising: DenoisingState
    preview: previews.Previewer | None


def rows_of(samples: Sequence[InFlightSample]) -> int:
    """Of the UNet's batch, in the next step of these."""
    return sum(one.denoising.rows for one in samples)


def may_be_compiled(job: Job) -> bool:
    """Whether the UNet is the model's own with its LoRAs; who is led by other networks is torch's."""
    return all(part.kind in (Kind.VAE, Kind.EMBEDDING) for part in job.fittings.parts)


def holds(model: LatentModel, compiled: Backend | None) -> bool:
    """Whether that is still there; torch always is."""
    return compiled is None or any(compiled is one for one in model.networks.values())


def computed_by(job: Job, dtype: torch.dtype) -> str:
    """Who takes the steps of a picture, and how precisely."""
    library = "OpenVINO" if job.compiled is not None and job.compiled.computes else "torch"
    return f"{library}, {str(dtype).removeprefix('torch.')}"
