"""Which backend computes a job."""

from __future__ import annotations

from inpainting.core.geometry import Size
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.device_memory import NOTHING_IN_USE, InUse


class BackendSelector:
    """Chooses a backend by model, image size, LoRAs and chunks of text. Only the device's thread calls it.

    This class selects torch for everything.
    """

    def select(
        self, model: LatentModel, size: Size, loras: ActiveLoras, chunk_count: int, *, in_use: InUse = NOTHING_IN_USE
    ) -> Backend:
        """The backend for a job that starts now. May take seconds, and may prepare a faster one for later jobs."""
        return TORCH

    def ready(self, model: LatentModel, size: Size, loras: ActiveLoras, chunk_count: int) -> Backend:
        """The backend that `select` would return, without preparing one."""
        return TORCH

    def rejection(self, model: LatentModel, size: Size, loras: ActiveLoras) -> str | None:
        """A sentence for the metadata if a faster backend was tried and failed."""
        return None
