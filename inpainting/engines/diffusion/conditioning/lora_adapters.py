"""LoRAs on a loaded model: brought while it paints, put on before a step, and put away when too many gather."""

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

# That a model has several LoRAs is what we are here for.
warnings.filterwarnings("ignore", message="Already found a `peft_config`", category=UserWarning)

PARTS = ("unet", "text_encoder", "text_encoder_2")
"""What a LoRA may change."""
MAX_IDLE_LORAS = 8
"""LoRAs that stay loaded in a model while nobody wears them."""


@dataclass(frozen=True, slots=True)
class ActiveLora:
    """A LoRA with its weight."""

    spec: LoraSpec
    weight: float

    @property
    def name(self) -> str:
        """What it is called inside the model: another file under the same slug is another LoRA."""
        return "lora" + hashlib.sha256(f"{self.spec.slug} {self.spec.digest}".encode()).hexdigest()[:16]


ActiveLoras = tuple[ActiveLora, ...]
"""What a model wears, in one order however it was asked for; equal for those who may share a call of the UNet."""


def active_loras(uses: Sequence[LoraUse], specs: Sequence[LoraSpec]) -> ActiveLoras:
    """What a request's LoRAs amount to. A weight of 0 is as if it were not there."""
    worn = [ActiveLora(spec, use.weight) for use, spec in zip(uses, specs, strict=True) if use.weight]
    return tuple(sorted(worn, key=lambda one: one.spec.slug))


class LoadedLoras:
    """The LoRAs of one loaded model. For the device's thread alone.

    They are never fused into the weights: without them the model computes what it did before the first was loaded, to
    the last bit, and those who wear different ones take turns at no more than the time of setting some numbers.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self._bytes: OrderedDict[str, int] = OrderedDict()
        self._worn: ActiveLoras | None = ()

    @property
    def byte_count(self) -> int:
        """Bytes of the weights of all that are loaded."""
        return sum(self._bytes.values())

    @property
    def want_trailing_steps(self) -> bool:
        """Whether what is worn was distilled to steps that are counted from the end of the noise."""
        return any(one.spec.few_steps is not None and one.spec.few_steps.is_trailing for one in self._worn or ())

    def lacking(self, worn: ActiveLoras) -> list[ActiveLora]:
        return [one for one in worn if one.name not in self._bytes]

    @serialized
    def load(self, one: ActiveLora) -> None:
        """Read a LoRA, whose file is checked first, into the model's memory.

        Raises EngineFailed: `lora_unavailable` where the file is gone, `lora_refused` by the check, `lora_unfit` where
        it was made for a model of another shape; the model is then as it was.
        """
        spec, path = one.spec, one.spec.path
        if path is None or not path.is_file():
            raise EngineFailed(f"The file of the LoRA {spec.slug} is gone.", code="lora_unavailable")
        check_lora(path, spec.family)
        self._worn = None  # loading puts it on
        try:
            with self._encoders_as_they_are():
                self.pipeline.load_lora_weights(
                    str(path.parent),
                    weight_name=path.name,
                    adapter_name=one.name,
                    local_files_only=True,
                    use_safetensors=True,
                )
        except (ValueError, RuntimeError, KeyError, TypeError, IndexError, AttributeError) as error:
            self._forget(one.name)
            if is_out_of_memory(error):
                raise
            logger.exception("The LoRA %s does not fit", spec.slug)
            raise EngineFailed(
                f"The LoRA {spec.slug} does not fit this model: it was made for one of another shape.",
                code="lora_unfit",
            ) from error
        self._bytes[one.name] = self._settle(one.name)
        if not self._bytes[one.name]:
            self._forget(one.name)
            raise EngineFailed(f"The LoRA {spec.slug} changes nothing of this model.", code="lora_unfit")

    def activate(self, worn: ActiveLoras) -> None:
        """Put these on, which are loaded, and all others off."""
        for one in worn:
            self._bytes.move_to_end(one.name)
        if worn == self._worn:
            return
        self._worn = None
        names, weights = [one.name for one in worn], [one.weight for one in worn]
        for part in self._parts:
            if worn:
                set_weights_and_activate_adapters(part, names, weights)
            set_adapter_layers(part, enabled=bool(worn))
        self._worn = worn

    def make_room(self, *, keep: Collection[str]) -> None:
        """Forget the least used of those not to be kept, until few are left."""
        while len(self._idle(keep)) > MAX_IDLE_LORAS:
            self.forget_one(keep=keep)

    def forget_one(self, *, keep: Collection[str]) -> bool:
        """The least used of those not to be kept. False where there is none."""
        idle = self._idle(keep)
        if idle:
            self._forget(idle[0])
        return bool(idle)

    def idle_bytes(self, keep: Collection[str]) -> int:
        """Bytes of the weights of those not to be kept."""
        return sum(self._bytes[name] for name in self._idle(keep))

    def _idle(self, keep: Collection[str]) -> list[str]:
        return [name for name in self._bytes if name not in keep]

    def _forget(self, name: str) -> None:
        self._bytes.pop(name, None)
        self._worn = None
        for part in self._parts:
            if name in getattr(part, "peft_config", {}):
                set_weights_and_activate_adapters(part, [], [])
                delete_adapter_layers(part, name)

    @contextmanager
    def _encoders_as_they_are(self) -> Iterator[None]:
        """Without the `text_model` that loading gives them for clip_skip: it leads diffusers to the wrong place."""
        lent = [part for part in self._parts if part.__dict__.get("text_model") is part]
        for part in lent:
            del part.__dict__["text_model"]
        try:
            yield
        finally:
            for part in lent:
                part.__dict__["text_model"] = part

    def _settle(self, name: str) -> int:
        """Computes in the model's own type from then on. Returns its bytes."""
        count = 0
        for part in self._parts:
            part.eval()
            for place, tensor in part.named_parameters():
                if name in place:
                    tensor.data = tensor.data.to(part.dtype)
                    tensor.requires_grad_(False)
                    count += tensor.nbytes
        return count

    @property
    def _parts(self) -> list[Any]:
        return [part for part in (getattr(self.pipeline, name, None) for name in PARTS) if part is not None]
