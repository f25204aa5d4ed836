"""The adapters of a request: LoRAs, and networks of their own beside the model's."""

from __future__ import annotations

from dataclasses import dataclass

from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras


@dataclass(frozen=True, slots=True)
class ActiveAdapters:
    """Equal for samples that may share a step batch.

    networks: the VAE, ControlNet and IP-Adapter, at most one of each. Textual inversions are not among them: they
    change the text alone.
    """

    loras: ActiveLoras = ()
    networks: tuple[ModelSpec, ...] = ()

    def network(self, kind: Kind) -> ModelSpec | None:
        return next((spec for spec in self.networks if spec.kind is kind), None)


NO_ADAPTERS = ActiveAdapters()
