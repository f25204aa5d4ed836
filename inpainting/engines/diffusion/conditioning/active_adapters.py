"""The adapters of a request: LoRAs, and networks of their own beside the model's."""

from __future__ import annotations

from dataclasses import dataclass

from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras


@dataclass(frozen=True, slots=True)
class ActiveAdapters:
    """Equal for samples that may share a step batch.

    networks: the VAE, the ControlNets and the IP-Adapters, each once. Textual inversions are not among them: they
    change the text alone.
    """

    loras: ActiveLoras = ()
    networks: tuple[ModelSpec, ...] = ()

    def network(self, kind: Kind) -> ModelSpec | None:
        return next(iter(self.networks_of(kind)), None)

    def networks_of(self, kind: Kind) -> list[ModelSpec]:
        return [spec for spec in self.networks if spec.kind is kind]


NO_ADAPTERS = ActiveAdapters()
