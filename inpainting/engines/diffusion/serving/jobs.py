"""The batcher's jobs and samples, and the key of samples that may share a step."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inpainting import families
from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import sentence
from inpainting.engines.base import Step
from inpainting.engines.diffusion import previews
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.active_adapters import NO_ADAPTERS, ActiveAdapters
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompts
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.conditioning.regional_texts import RegionalTexts
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.conditioning.textual_inversion import Embedding
from inpainting.engines.diffusion.first_block_cache import THRESHOLDS
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.regional_prompts import RequestPrompts
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.serving.batch_tuner import BatchSizeTuner
from inpainting.networks.device.hardware import FiniteCheck

UNLIMITED = sys.maxsize
FILES_REPLACED = sentence(
    "The model's files were replaced during this request: its later images were painted with the new files."
)


@dataclass(frozen=True, slots=True, eq=False)
class JobSucceeded:
    """images: [height, width, 3] each. notes: sentences for the metadata."""

    images: list[NDArray[np.uint8]]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StepTaken:
    """A step of an image. preview: composed on the caller's thread, None where none is due."""

    sample: InFlightSample
    step: Step
    preview: previews.Preview | None


@dataclass(slots=True, eq=False)
class Job:
    """One request: the messages for its caller, and the state that its images share.

    is_done: succeeded, failed, or left by its caller; the batcher then drops it.
    """

    request: InpaintRequest
    spec: ModelSpec
    adapters: ActiveAdapters = NO_ADAPTERS
    embeddings: Sequence[Embedding] = ()
    messages: SimpleQueue[StepTaken | Exception | JobSucceeded] = field(default_factory=SimpleQueue)
    is_done: bool = False
    backend: Backend = TORCH
    """Computes all steps of all its images."""
    prompts: RequestPrompts | None = None
    text: TextConditioning | None = None
    """Encoded when its first image starts."""
    loras: ActiveLoras = ()
    """Of `text`."""
    regions: RegionalTexts | None = None
    """Encoded with `text`; None where it has no regions."""
    vae: Any | None = None
    """Replaces the model's own VAE for all its images."""
    controlnets: tuple[ControlNetConditioning, ...] | None = None
    image_prompts: ImagePrompts | None = None
    notes: list[str] = field(default_factory=list)
    images: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    """Finished images by index."""
    steps_done: int = 0
    steps_total: int = 0
    previewed_at: float = 0.0
    _read_with: weakref.ref[LatentModel] | None = None
    """The model that `prompts`, `text`, `regions`, `controlnets`, `image_prompts` and `backend` belong to."""
    _fingerprint: int = 0

    def use(self, model: LatentModel) -> None:
        """Forget what belongs to another model: it may have been loaded anew since the job's last image started."""
        if self._read_with is not None and self._read_with() is model:
            return
        if self.text is not None and self._fingerprint != model.fingerprint:
            self.add_notes(FILES_REPLACED)
        self.prompts = self.text = self.regions = self.controlnets = self.image_prompts = None
        self.backend = TORCH
        self._read_with, self._fingerprint = weakref.ref(model), model.fingerprint

    @property
    def size(self) -> Size:
        return self.request.image.size

    @property
    def cache_level(self) -> str | None:
        """The key of `first_block_cache.THRESHOLDS`; None where all blocks run in each step."""
        settings = self.request.settings
        if settings.regions or not families.get(self.spec.family).caches_blocks:
            return None  # the cache holds for one text
        return settings.cache if settings.cache in THRESHOLDS else None

    @property
    def needs_torch(self) -> bool:
        """Whether networks beside the UNet or LoRAs of regions change what it computes, which only torch can follow."""
        networks = [spec for spec in self.adapters.networks if spec.kind not in (Kind.VAE, Kind.EMBEDDING)]
        return bool(networks or self.adapters.regional)

    def add_notes(self, *sentences: str) -> None:
        self.notes += [sentence for sentence in sentences if sentence not in self.notes]

    def fail(self, error: Exception) -> None:
        self.is_done = True
        self.messages.put(error)

    def finish(self, index: int, image: NDArray[np.uint8], model: LatentModel) -> None:
        """Keep an image. The last one ends the job."""
        self.images[index] = image
        self.add_notes(*model.memory_fallbacks)
        if len(self.images) == self.request.settings.num_images and not self.is_done:
            self.add_notes(*model.notes, *model.compilation_notes, *self.backend.notes)
            self.is_done = True
            images = [self.images[number] for number in sorted(self.images)]
            self.messages.put(JobSucceeded(images, tuple(self.notes)))

    def computed_by(self, dtype: torch.dtype) -> str:
        """Library and precision of its steps, for the metadata."""
        return f"{self.backend.step_library}, {str(dtype).removeprefix('torch.')}"


@dataclass(frozen=True, slots=True)
class WaitingSample:
    """One image of a job that has not started. index: its number in the job."""

    job: Job
    index: int


@dataclass(slots=True, eq=False)
class InFlightSample:
    """One image of a job between its start and its decoding.

    previewer: None without previews, and after one has failed. dtype: of the network when it started. finite: of the
    latents after its last step.
    """

    job: Job
    index: int
    state: DenoisingState
    previewer: previews.Previewer | None
    dtype: torch.dtype
    finite: FiniteCheck | None = None

    @property
    def size(self) -> Size:
        return self.job.size


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Equal for images that may share a step: of one model, size, set of adapters, length of text and backend, and
    with reference images of the same sizes.

    chunk_count: 0 while the model is not loaded, and so the prompt not tokenised. backend: its name. cache_level: see
    `Job`; with one, an image shares no step.
    """

    slug: str
    size: Size
    adapters: ActiveAdapters
    chunk_count: int
    backend: str
    cache_level: str | None = None
    references: tuple[Size, ...] = ()


@dataclass(slots=True, eq=False)
class StepBatch:
    """Samples that take their steps together. As long as it exists, its model stays loaded.

    Batches of one model with different LoRAs take turns, and each activates its own. tuner: shared by all batches with
    this key. undecoded: have taken all steps. max_samples: as many as fit into memory, lowered when memory was short.
    """

    model: LatentModel
    key: BatchKey
    tuner: BatchSizeTuner
    backend: Backend
    samples: list[InFlightSample] = field(default_factory=list)
    undecoded: list[InFlightSample] = field(default_factory=list)
    max_samples: int = UNLIMITED
    last_stepped: float = 0.0

    @property
    def adapters(self) -> ActiveAdapters:
        return self.key.adapters

    @property
    def rows(self) -> int:
        return count_rows(self.samples)

    @property
    def max_rows(self) -> int:
        """Rows of any step to come at most: guidance may start or end between two steps."""
        return sum(sample.state.max_rows for sample in self.samples)


def count_rows(samples: Iterable[InFlightSample]) -> int:
    """Rows of their next step."""
    return sum(sample.state.all_rows for sample in samples)
