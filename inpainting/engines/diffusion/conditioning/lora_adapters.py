"""LoRAs of a loaded model: loaded on demand, activated before a step, unloaded when too many are idle.

E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022).
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file

from inpainting.catalog.inspection.lora_files import check_lora, lora_configuration
from inpainting.catalog.inspection.lora_layers import DORA_SCALE, MAGNITUDE, split_name
from inpainting.catalog.specs import LoraSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import LoraUse
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.conditioning.delta_layers import DeltaLoras, Deltas, LayerUnfit, deltas_of
from inpainting.engines.diffusion.conditioning.fused_weights import fused_byte_count
from inpainting.engines.diffusion.conditioning.lora_layer_names import current_names, is_known, layers_by_name
from inpainting.engines.diffusion.serving.loading.ignored_weights import tensor_notes
from inpainting.families.declaration import LoraSupport
from inpainting.networks.device.hardware import is_out_of_memory
from inpainting.networks.device.quantization import is_quantized
from inpainting.networks.unreadable_files import READ_ERRORS, unreadable

logger = logging.getLogger(__name__)

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


def weights_of(loras: Sequence[ActiveLora]) -> dict[str, float]:
    """The weights of LoRAs by the names of their adapters."""
    return {lora.name: lora.weight for lora in loras}


def active_loras(uses: Sequence[LoraUse], specs: Sequence[LoraSpec]) -> ActiveLoras:
    """A request's LoRAs with a weight other than 0. specs: those of `uses`, and maybe others."""
    by_slug = {spec.slug: spec for spec in specs}
    active = [ActiveLora(by_slug[use.slug], use.weight) for use in uses if use.weight]
    return tuple(sorted(active, key=lambda lora: lora.spec.slug))


@dataclass(frozen=True, slots=True, eq=False)
class LoraFile:
    """A LoRA that was read for a model and has not changed it yet."""

    deltas: Deltas
    """The difference for each layer."""
    ignored: tuple[str, ...]
    """The names of tensors that the model has no layers for."""


class LoadedLoras:
    """The LoRAs of one loaded model. Only the device's thread uses it.

    Without them the model computes, bit for bit, what it computed before the first one was loaded: its own weights
    never change. LoRAs are hooks (`delta_layers`), whose factors are computed beside the device's thread, and one set
    of them may be fused besides.

    targets: names of the pipeline's components that LoRAs may change.
    """

    def __init__(self, pipeline: Any, support: LoraSupport | None) -> None:
        self.pipeline = pipeline
        self.targets = () if support is None else support.components
        self._original_name = None if support is None else support.load_original_name()
        self._bytes: OrderedDict[str, int] = OrderedDict()
        self._deltas = DeltaLoras()
        self._ignored: dict[str, tuple[str, ...]] = {}
        self._active: ActiveLoras | None = ()
        self._fused: ActiveLoras = ()
        """The set that was fused last."""
        self._may_fuse = True
        self._bytes_to_fuse: dict[tuple[str, ...], int] = {}

    @property
    def byte_count(self) -> int:
        return sum(self._bytes.values()) + self.fused_byte_count

    @property
    def fused(self) -> ActiveLoras:
        """The set whose fused weights are held, whether it is active or not; empty without any."""
        return () if self._deltas.fused is None else self._fused

    @property
    def fused_byte_count(self) -> int:
        """Bytes of the fused weights that are held."""
        return 0 if self._deltas.fused is None else self._deltas.fused.byte_count

    @property
    def active(self) -> ActiveLoras | None:
        """The active set; None between fusing or unloading a LoRA and `activate`."""
        return self._active

    @property
    def are_hooks(self) -> bool:
        """Whether the active LoRAs are hooks of layers of the network: fused ones have no hooks there."""
        return self._active is None or self._active not in ((), self.fused)

    @property
    def need_trailing_timesteps(self) -> bool:
        """Whether an active LoRA was distilled to timesteps that are counted from the end of the noise schedule."""
        return any(lora.spec.few_steps is not None and lora.spec.few_steps.is_trailing for lora in self._active or ())

    @property
    def flow_shift(self) -> float | None:
        """By which noise levels are shifted for the first active LoRA that was distilled so; None as of the model."""
        few_steps = [lora.spec.few_steps for lora in self._active or ()]
        return next((found.flow_shift for found in few_steps if found and found.flow_shift is not None), None)

    @property
    def device(self) -> torch.device:
        """Where the numbers of LoRAs are kept."""
        device: torch.device = next(iter(self._components.values())).device
        return torch.device("cpu") if device.type == "meta" else device  # of a model that is offloaded by layers

    def missing(self, loras: ActiveLoras) -> list[ActiveLora]:
        return [lora for lora in loras if lora.name not in self._bytes]

    def read(self, lora: ActiveLora) -> LoraFile:
        """Check a LoRA's file and read it into the memory of the model; the model stays unchanged. On any thread.

        Raises EngineFailed: `lora_unavailable` if the file is missing or cannot be read, `lora_refused` by the check,
        `lora_unfit` if it was made for a model of another shape.
        """
        spec, path = lora.spec, lora.spec.path
        if path is None or not path.is_file():
            raise EngineFailed(
                sentence("The file of the LoRA {slug} is gone.", slug=spec.slug), code="lora_unavailable"
            )
        check_lora(path, spec.family)
        network, device = next(iter(self._components.values())), self.device
        # One by one in the precision of the network: all together in float32 would take twice the memory of the LoRA.
        dtype = torch.float32 if is_quantized(network) else network.dtype
        try:
            tensors = {name: in_memory(name, tensor, device, dtype) for name, tensor in load_file(path).items()}
        except READ_ERRORS as error:
            raise unreadable(sentence("The LoRA {slug}", slug=spec.slug), path, error, "lora_unavailable") from error
        by_name = layers_by_name(self._components, self._original_name)
        with refuse_unfit(lora):
            tensors = current_names(tensors)
            deltas = deltas_of(tensors, by_name, lora_configuration(path) or {})
        return LoraFile(deltas, tuple(name for name in tensors if not is_known(name, by_name)))

    def load(self, lora: ActiveLora, file: LoraFile | None = None) -> None:
        """Load a LoRA into the model. file: what `read` returned; left out, the file is read now.

        Raises EngineFailed: those of `read`, and `lora_unfit` if it changes nothing of the model.
        """
        spec, file = lora.spec, file or self.read(lora)
        if not file.deltas:
            raise EngineFailed(
                sentence("The LoRA {slug} changes nothing of this model.", slug=spec.slug), code="lora_unfit"
            )
        self._bytes_to_fuse.clear()
        self._bytes[lora.name] = self._deltas.load(lora.name, file.deltas)
        self._ignored[lora.name] = tuple(tensor_notes(f"The LoRA {spec.slug}", file.ignored))

    def notes(self, loras: ActiveLoras) -> tuple[str, ...]:
        """Sentences about tensors of these LoRAs that the model has no layers for."""
        return tuple(note for lora in loras for note in self._ignored.get(lora.name, ()))

    def activate(self, loras: ActiveLoras) -> None:
        """Activate these LoRAs, which are loaded, and no others."""
        for lora in loras:
            self._bytes.move_to_end(lora.name)
        if loras != self._active:
            self._active = None
            self._deltas.activate(weights_of(loras))
            self._active = loras

    def bytes_to_fuse(self, loras: ActiveLoras, network: torch.nn.Module) -> int:
        """Bytes that `fuse` takes for these LoRAs, which are loaded; 0 if they cannot or must not be fused."""
        if not self._may_fuse:
            return 0
        names = tuple(lora.name for lora in loras)
        if names not in self._bytes_to_fuse:
            self._bytes_to_fuse[names] = fused_byte_count(self._deltas.by_layer(weights_of(loras), network))
        return self._bytes_to_fuse[names]

    def fuse(self, loras: ActiveLoras, network: torch.nn.Module) -> None:
        """Fuse these LoRAs, which are loaded, into a network for whenever `activate` is called with them.

        Those of another set are dropped. Deactivates all. If this fails nothing is fused.
        """
        self._active = None
        self._deltas.fuse(weights_of(loras), network)
        self._fused = loras

    def unfuse(self, *, for_good: bool = False) -> None:
        """Drop the fused weights and deactivate all, if there are any.

        for_good: fuse none until the model has left the device.
        """
        self._may_fuse = self._may_fuse and not for_good
        if self._deltas.fused is not None:
            self._active = None
            self._deltas.unfuse()

    def fuse_for_good(self, loras: ActiveLoras) -> None:
        """Fuse these LoRAs, which are loaded, into the weights of the UNet for good, for a conversion of the model."""
        self.activate(())
        self._deltas.fuse_for_good(weights_of(loras))

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

    def unload_all(self) -> None:
        for name in list(self._bytes):
            self._unload(name)
        self._may_fuse = True

    def evictable_bytes(self, keep: Collection[str]) -> int:
        """Bytes of the weights of those not named in `keep`, and of all fused weights."""
        return sum(self._bytes[name] for name in self._idle(keep)) + self.fused_byte_count

    def _idle(self, keep: Collection[str]) -> list[str]:
        return [name for name in self._bytes if name not in keep]

    def _unload(self, name: str) -> None:
        self._bytes.pop(name, None)
        self._ignored.pop(name, None)
        self._active = None
        self._deltas.unload(name)

    @property
    def _components(self) -> dict[str, Any]:
        found = {name: getattr(self.pipeline, name, None) for name in self.targets}
        return {name: component for name, component in found.items() if component is not None}


@contextmanager
def refuse_unfit(lora: ActiveLora) -> Iterator[None]:
    """Raise EngineFailed, `lora_unfit`, for an error of a LoRA that was made for a model of another shape."""
    try:
        yield
    except (ValueError, RuntimeError, KeyError, TypeError, IndexError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        logger.exception("The LoRA %s does not fit", lora.spec.slug)
        reason = str(error) if isinstance(error, LayerUnfit) else "it was made for one of another shape."
        message = sentence("The LoRA {slug} does not fit this model: {reason}", slug=lora.spec.slug, reason=reason)
        raise EngineFailed(message, code="lora_unfit") from error


def in_memory(name: str, tensor: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A copy of a tensor of a LoRA's file, whose pages would else be read when its numbers are used.

    Of float32 in `dtype`, but for the norms of a DoRA. Alphas are read on the CPU.
    """
    if tensor.ndim <= 1:
        return tensor.clone()
    _, factor = split_name(name) or (name, "")
    is_converted = tensor.dtype == torch.float32 and factor not in (MAGNITUDE, DORA_SCALE)
    return tensor.to(device, dtype if is_converted else tensor.dtype, copy=True)
