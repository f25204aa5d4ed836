"""The adapters of a request: LoRAs, those of its regions too, and networks of their own beside the model's."""

from __future__ import annotations

from dataclasses import dataclass

from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras


@dataclass(frozen=True, slots=True)
class ActiveAdapters:
    """Equal for samples that may share a step batch.

    regional: the sets of LoRAs of the regions that have other LoRAs than `loras`, those of the request. networks: the
    VAE, the ControlNets and the IP-Adapters, each once. Textual inversions are not among them: they change the text
    alone.
    """

    loras: ActiveLoras = ()
    networks: tuple[ModelSpec, ...] = ()
    regional: frozenset[ActiveLoras] = frozenset()

    @property
    def all_loras(self) -> ActiveLoras:
        """The LoRAs of the request and of its regions, each once; the weight may be that of any of them."""
        loras = {lora.name: lora for active in (self.loras, *self.regional) for lora in active}
        return tuple(sorted(loras.values(), key=lambda lora: lora.spec.slug))

    def network(self, kind: Kind) -> ModelSpec | None:
        return next(iter(self.networks_of(kind)), None)

    def networks_of(self, kind: Kind) -> list[ModelSpec]:
        return [spec for spec in self.networks if spec.kind is kind]


NO_ADAPTERS = ActiveAdapters()
