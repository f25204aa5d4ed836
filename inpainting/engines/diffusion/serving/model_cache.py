"""Models in memory: loaded on demand, kept warm, the least used one put away when another needs the room."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.engines.diffusion.backends.base import Backend
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.diffusion.serving.adapter_loading import load_adapter, load_preview_decoder
from inpainting.engines.diffusion.serving.model_loading import fingerprint_of, load, lora_bytes, weights_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InUse:
    """What stays where it is: somebody is painted with it, or is about to be. loras: their names inside models."""

    models: Collection[LatentModel] = ()
    parts: Collection[ModelSpec] = ()
    compiled: Collection[Backend] = ()
    loras: Collection[str] = ()


NOTHING = InUse()


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part in memory. fingerprint: of the files it was read from. byte_count: of all its weights."""

    fingerprint: int
    network: Any
    byte_count: int


class ModelCache:
    """The models in the device's memory, and what is compiled of them. For the device's thread alone.

    budget_bytes: weights kept at most, one model being always allowed. models_dir: where the small decoders for
    previews lie, if any do.
    """

    def __init__(self, hardware: Hardware, budget_bytes: int, *, models_dir: Path | None = None) -> None:
        self.hardware = hardware
        self.budget_bytes = budget_bytes
        self.models_dir = models_dir
        self.reserved_bytes = 0
        """For what is being compiled. Nobody but others of its kind waits for that: it is only faster."""
        self._preview_decoders: dict[str, torch.nn.Module | None] = {}
        self._models: OrderedDict[str, LatentModel] = OrderedDict()
        self._parts: OrderedDict[str, Part] = OrderedDict()
        self._fingerprints: dict[str, int] = {}
        self._sizes: dict[tuple[ModelSpec, int], int] = {}

    def loaded(self, spec: ModelSpec) -> LatentModel | None:
        """The model, if it is there as it lies on the disk now."""
        is_current = self._fingerprints.get(spec.slug, fingerprint_of(spec)) == fingerprint_of(spec)
        return self._models.get(spec.slug) if is_current else None

    def fits(self, spec: ModelSpec, in_use: InUse = NOTHING) -> bool:
        """Whether it is there, or can be loaded without putting another model, or anything else in use, away."""
        if self.loaded(spec) is not None:
            return True
        key = (spec, fingerprint_of(spec))
        if key not in self._sizes:
            self._sizes[key] = weights_bytes(spec, self.hardware.dtype)
        parts = sum(self._parts[slug].byte_count for slug in self._idle_parts(in_use))
        compiled = sum(found.byte_count for _, _, found in self._idle_compiled(in_use))
        loras = sum(model.loras.idle_bytes(in_use.loras) for model in self._models.values())
        return self.used_bytes - parts - compiled - loras + self._sizes[key] <= self.budget_bytes

    @property
    def models(self) -> list[LatentModel]:
        return list(self._models.values())

    @property
    def used_bytes(self) -> int:
        return sum(one.byte_count for held in (self._models, self._parts) for one in held.values())

    def get(self, spec: ModelSpec, in_use: InUse = NOTHING) -> Any:
        """The loaded `LatentModel`, where needed in place of other models and all else that is not in use.

        Raises EngineFailed (`model_unavailable`, `model_refused`) where it cannot be loaded.
        """
        slug, model = spec.slug, self.loaded(spec)
        if model is None:
            if self._models.pop(slug, None) is not None:  # of other files; who still paints with it holds it
                self._free()
            wanted, fingerprint = weights_bytes(spec, self.hardware.dtype), fingerprint_of(spec)
            self._make_room(wanted, in_use)
            model = self._models[slug] = load(spec, self.hardware)
            self._fingerprints[slug] = fingerprint
        self._models.move_to_end(slug)
        return model

    def bring(self, worn: ActiveLoras, model: LatentModel, in_use: InUse = NOTHING) -> None:
        """Load the LoRAs that a model lacks, where needed in place of whatever is not in use.

        Raises EngineFailed (`lora_unavailable`, `lora_refused`, `lora_unfit`) where one cannot be loaded.
        """
        lacking = model.loras.lacking(worn)
        if not lacking:
            return
        wanted = sum(lora_bytes(one.spec, self.hardware.dtype) for one in lacking)
        keep = {*in_use.loras, *(one.name for one in worn)}
        self._make_room(wanted, replace(in_use, models=[*in_use.models, model], loras=keep))
        model.loras.make_room(keep=keep)
        for one in lacking:
            model.loras.load(one)

    def part(self, spec: ModelSpec, in_use: InUse = NOTHING) -> Any:
        """The loaded network of a part, where needed in place of whatever is not in use.

        Raises EngineFailed (`part_unavailable`, `part_refused`) where it cannot be loaded.
        """
        fingerprint, held = fingerprint_of(spec), self._parts.get(spec.slug)
        if held is None or held.fingerprint != fingerprint:
            self._parts.pop(spec.slug, None)
            self._make_room(weights_bytes(spec, self.hardware.dtype), in_use)
            network = load_adapter(spec, self.hardware)
            held = self._parts[spec.slug] = Part(fingerprint, network, bytes_of(network))
        self._parts.move_to_end(spec.slug)
        return held.network

    def preview_decoder(self, family: str) -> torch.nn.Module | None:
        """What decodes previews of that family; None where there is none, or none that may be loaded."""
        if self.models_dir is None:
            return None
        if family not in self._preview_decoders:
            self._preview_decoders[family] = load_preview_decoder(self.models_dir, family, self.hardware)
        return self._preview_decoders[family]

    def reserve(self, byte_count: int, in_use: InUse = NOTHING) -> bool:
        """For what is about to be compiled, where needed in place of what is compiled and not in use.

        False where even that would be too little; then nothing is put away.
        """
        wanted = self.used_bytes + self.reserved_bytes + byte_count - self.budget_bytes
        if wanted > sum(found.byte_count for _, _, found in self._idle_compiled(in_use)):
            return False
        while wanted > 0:
            wanted -= self._put_compiled_away(in_use)
        self.reserved_bytes += byte_count
        return True

    def _make_room(self, wanted: int, in_use: InUse) -> None:
        """For so many bytes, as far as that goes."""
        while self.used_bytes + wanted > self.budget_bytes:
            if not self.evict(in_use):
                return

    def _idle_compiled(self, in_use: InUse) -> list[tuple[LatentModel, Any, Backend]]:
        """The least used first, each with its model and its key there."""
        idle = [
            (model, key, found)
            for model in self._models.values()
            for key, found in model.networks.items()
            if not any(found is one for one in in_use.compiled)
        ]
        return sorted(idle, key=lambda one: one[2].used)

    def _put_compiled_away(self, in_use: InUse) -> int:
        """How many bytes are free because of it, 0 where there was none."""
        for model, key, found in self._idle_compiled(in_use):
            del model.networks[key]
            if model.compiled is found:
                model.compiled = None
            return found.byte_count
        return 0

    def _idle_parts(self, in_use: InUse) -> list[str]:
        used = {part.slug for part in in_use.parts}
        return [slug for slug in self._parts if slug not in used]

    def _idle_models(self, in_use: InUse) -> list[str]:
        return [slug for slug, model in self._models.items() if not any(model is one for one in in_use.models)]

    def evict(self, in_use: InUse = NOTHING) -> bool:
        """Forget the least used of what is compiled and not in use, else such a LoRA, else such a part, else such a
        model: what is soon there again goes first. False where there is none."""
        if self._idle_compiled(in_use):
            self._put_compiled_away(in_use)
            return True
        if any(model.loras.forget_one(keep=in_use.loras) for model in self._models.values()):
            self.hardware.empty_cache()
            return True
        for held, idle in ((self._parts, self._idle_parts(in_use)), (self._models, self._idle_models(in_use))):
            if idle:
                del held[idle[0]]
                self._free()
                logger.info("Put %s away", idle[0])
                return True
        return False

    def _free(self) -> None:
        """The memory of what nobody holds any more."""
        gc.collect()  # the parts of a pipeline know each other
        self.hardware.empty_cache()


def bytes_of(network: torch.nn.Module) -> int:
    """Of all its weights."""
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
