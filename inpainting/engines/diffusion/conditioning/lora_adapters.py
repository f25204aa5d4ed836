"""LoRAs of a loaded model: loaded on demand, activated before a step, unloaded when too many are idle.

E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022).
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from diffusers.utils.peft_utils import delete_adapter_layers, set_adapter_layers, set_weights_and_activate_adapters

from inpainting.catalog.inspection.lora_files import check_lora
from inpainting.catalog.specs import LoraSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion.hardware import is_out_of_memory
from inpainting.engines.diffusion.serving.load_lock import serialized

logger = logging.getLogger(__name__)

# Loading a second LoRA into a model is intended here.
warnings.filterwarnings("ignore", message="Already found a `peft_config`", category=UserWarning)

MAX_IDLE_LORAS = 8
"""LoRAs that stay loaded in a model while no generation uses them."""


@dataclass(frozen=True, slots=True)
class ActiveLora:
    """A LoRA with its weight."""

    spec: LoraSpec
    weight: float

    @property
    def name(self) -> str:
        """The adapter name inside the model. It contains the file's hash, because a slug may get another file."""
        return "lora" + hashlib.sha256(f"{self.spec.slug} {self.spec.digest}".encode()).hexdigest()[:16]


ActiveLoras = tuple[ActiveLora, ...]
"""Sorted by slug, whatever the order in the request. Equal for samples that may share a step batch."""


def active_loras(uses: Sequence[LoraUse], specs: Sequence[LoraSpec]) -> ActiveLoras:
    """A request's LoRAs with a weight other than 0. specs: those of `uses`, in their order."""
    active = [ActiveLora(spec, use.weight) for use, spec in zip(uses, specs, strict=True) if use.weight]
    return tuple(sorted(active, key=lambda one: one.spec.slug))


class LoadedLoras:
    """The LoRAs of one loaded model. Only the device's thread uses it.

    LoRAs are never fused into the weights. So without them the model computes, bit for bit, what it computed before
    the first one was loaded, and switching between sets of LoRAs only sets some scaling factors.

    targets: names of the pipeline's components that LoRAs may change.
    """

    def __init__(self, pipeline: Any, targets: Sequence[str]) -> None:
        self.pipeline = pipeline
        self.targets = targets
        self._bytes: OrderedDict[str, int] = OrderedDict()
        self._active: ActiveLoras | None = ()

    @property
    def byte_count(self) -> int:
        return sum(self._bytes.values())

    @property
    def need_trailing_timesteps(self) -> bool:
        """Whether an active LoRA was distilled to timesteps that are counted from the end of the noise schedule."""
        return any(one.spec.few_steps is not None and one.spec.few_steps.is_trailing for one in self._active or ())

    def missing(self, loras: ActiveLoras) -> list[ActiveLora]:
        return [one for one in loras if one.name not in self._bytes]

    @serialized
    def load(self, lora: ActiveLora) -> None:
        """Check a LoRA's file and load it into the model.

        Raises EngineFailed: `lora_unavailable` if the file is missing, `lora_refused` by the check, `lora_unfit` if it
        was made for a model of another shape; the model is then unchanged.
        """
        spec, path = lora.spec, lora.spec.path
        if path is None or not path.is_file():
            raise EngineFailed(f"The file of the LoRA {spec.slug} is gone.", code="lora_unavailable")
        check_lora(path, spec.family)
        self._active = None  # loading activates the LoRA
        try:
            with self._without_text_model_alias():
                self.pipeline.load_lora_weights(
                    str(path.parent),
                    weight_name=path.name,
                    adapter_name=lora.name,
                    local_files_only=True,
                    use_safetensors=True,
                )
        except (ValueError, RuntimeError, KeyError, TypeError, IndexError, AttributeError) as error:
            self._unload(lora.name)
            if is_out_of_memory(error):
                raise
            logger.exception("The LoRA %s does not fit", spec.slug)
            raise EngineFailed(
                f"The LoRA {spec.slug} does not fit this model: it was made for one of another shape.",
                code="lora_unfit",
            ) from error
        self._bytes[lora.name] = self._cast_to_model_dtype(lora.name)
        if not self._bytes[lora.name]:
            self._unload(lora.name)
            raise EngineFailed(f"The LoRA {spec.slug} changes nothing of this model.", code="lora_unfit")

    def activate(self, loras: ActiveLoras) -> None:
        """Activate these LoRAs, which are loaded, and no others."""
        for one in loras:
            self._bytes.move_to_end(one.name)
        if loras == self._active:
            return
        self._active = None
        names, weights = [one.name for one in loras], [one.weight for one in loras]
        for component in self._components:
            if loras:
                set_weights_and_activate_adapters(component, names, weights)
            set_adapter_layers(component, enabled=bool(loras))
        self._active = loras

    def unload_idle(self, *, keep: Collection[str]) -> None:
        """Unload the least recently used, except those named in `keep`, down to MAX_IDLE_LORAS."""
        while len(self._idle(keep)) > MAX_IDLE_LORAS:
            self.evict_one(keep=keep)

    def evict_one(self, *, keep: Collection[str]) -> bool:
        """Unload the least recently used one that is not named in `keep`. False if there is none."""
        idle = self._idle(keep)
        if idle:
            self._unload(idle[0])
        return bool(idle)

    def idle_bytes(self, keep: Collection[str]) -> int:
        """Bytes of the weights of those not named in `keep`."""
        return sum(self._bytes[name] for name in self._idle(keep))

    def _idle(self, keep: Collection[str]) -> list[str]:
        return [name for name in self._bytes if name not in keep]

    def _unload(self, name: str) -> None:
        self._bytes.pop(name, None)
        self._active = None
        for component in self._components:
            if name in getattr(component, "peft_config", {}):
                set_weights_and_activate_adapters(component, [], [])
                delete_adapter_layers(component, name)

    @contextmanager
    def _without_text_model_alias(self) -> Iterator[None]:
        """Remove the `text_model` alias that model loading sets for clip_skip: it misleads diffusers' LoRA loader."""
        aliased = [component for component in self._components if component.__dict__.get("text_model") is component]
        for component in aliased:
            del component.__dict__["text_model"]
        try:
            yield
        finally:
            for component in aliased:
                component.__dict__["text_model"] = component

    def _cast_to_model_dtype(self, name: str) -> int:
        """Cast a LoRA's weights to the dtype of the component that they change. Returns their bytes."""
        count = 0
        for component in self._components:
            component.eval()
            for place, tensor in component.named_parameters():
                if name in place:
                    tensor.data = tensor.data.to(component.dtype)
                    tensor.requires_grad_(False)
                    count += tensor.nbytes
        return count

    @property
    def _components(self) -> list[Any]:
        found = (getattr(self.pipeline, name, None) for name in self.targets)
        return [component for component in found if component is not None]
