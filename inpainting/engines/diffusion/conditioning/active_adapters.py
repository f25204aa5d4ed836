"""What a request puts on its model beside the model's own weights."""

from __future__ import annotations

from dataclasses import dataclass

from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras


@dataclass(frozen=True, slots=True)
class ActiveAdapters:
    """Equal for those who may share a call of the UNet. parts: at most one of each kind; no embeddings, which change
    the words alone."""

    loras: ActiveLoras = ()
    parts: tuple[ModelSpec, ...] = ()

    def part(self, kind: Kind) -> ModelSpec | None:
        """The part of that kind, if there is one."""
        return next((part for part in self.parts if part.kind is kind), None)


NO_ADAPTERS = ActiveAdapters()
