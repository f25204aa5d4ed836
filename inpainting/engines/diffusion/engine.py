"""The diffusion engine. Importing this module does not import torch; the first painting does."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from django.conf import settings as site
from numpy.typing import NDArray

from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.core.request import PaintSettings
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.diffusion.backends import openvino
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.garbage import freeze_imports
from inpainting.keepalive import run_in_thread
from inpainting.networks.device.quantization import OFF

if TYPE_CHECKING:
    from inpainting.engines.diffusion.serving.backend_selection import BackendSelector
    from inpainting.engines.diffusion.serving.batcher import Batcher
    from inpainting.engines.diffusion.serving.model_cache import ModelCache

logger = logging.getLogger(__name__)

HOST_SHARE = 0.5
"""The share of the machine's free memory that evicted models take at most, of all processes of `serve --devices`."""
IMPORTING_SECONDS = 600.0
"""The time after which importing torch counts as hung. Uncompiled, it takes 20 s of one processor."""


@dataclass(frozen=True, slots=True)
class Options:
    """The administrator's options for the device; see the Django settings DIFFUSION_*.

    memory_bytes: weights kept in the device's memory at most; None is most of what it has. host_share: of the
    machine's free memory that evicted models may take, 0 to 1. max_rows: see `Batcher`.
    models_dir: the folder of all models, in which a small decoder for previews may lie.
    compilation: auto, blocks or OFF; auto compiles transformers on a GPU, unless max_rows is 1.
    openvino: auto or off; auto computes with it on a processor, where it is installed. openvino_bytes: what its files
    may take on the disk.
    """

    device: str = "auto"
    precision: str = "auto"
    quantization: str = OFF
    compilation: str = OFF
    memory_bytes: int | None = None
    host_share: float = HOST_SHARE
    max_rows: int | None = None
    models_dir: Path | None = None
    openvino: str = "auto"
    openvino_bytes: int = 20 * 10**9


class Diffusion:
    """Paints what a prompt describes, with diffusers' models: image n is that of seed + n alone."""

    declaration = DIFFUSION

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._making = threading.Lock()

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        """`settings.num_images` images [height, width, 3].

        Raises EngineFailed: `model_unavailable`, `model_refused`, `model_produced_invalid_output`, `gpu_out_of_memory`,
        `lora_unfit`, `adapter_unavailable`, `adapter_refused`, `adapter_unfit`, `control_image_missing`,
        `ip_adapter_image_missing`, `model_failed`.
        """
        last = Step(0, 0)

        def follow(step: Step) -> None:
            nonlocal last
            last = step
            on_step(step)

        adapters = [adapter for adapter in plan.adapters if has_effect(adapter, plan.settings)]
        # Importing torch takes longer than a lease on a slow or loaded machine.
        batcher = run_in_thread(lambda: self.batcher, lambda: on_step(Step(0, 0)), seconds=IMPORTING_SECONDS)
        images, notes = batcher.paint(plan.request, plan.required_model, follow, plan.loras, adapters, plan.embeddings)
        on_step(Step(last.of, last.of, notes=notes))
        return images

    def warm_up(self, model: ModelSpec) -> None:
        """Start to load a model before the first request; returns before it is loaded."""
        self.batcher.warm(model)

    @property
    def batcher(self) -> Batcher:
        """The batcher of this process. The first use imports torch."""
        with self._making:
            return self._batcher

    @property
    def loaded_models(self) -> list[str]:
        """The slugs of the models in the memory of this process; it does not import torch."""
        batcher: Batcher | None = vars(self).get("_batcher")
        return [] if batcher is None else [model.spec.slug for model in batcher.cache.models]

    @property
    def early_failures(self) -> dict[str, str]:
        """Slugs of the models that this process could not load before their first request -> why."""
        batcher: Batcher | None = vars(self).get("_batcher")
        return {} if batcher is None else dict(batcher.early_failures)

    @cached_property
    def _batcher(self) -> Batcher:
        from inpainting.engines.diffusion.serving.batcher import Batcher
        from inpainting.engines.diffusion.serving.host_memory import HostMemory
        from inpainting.engines.diffusion.serving.model_cache import ModelCache
        from inpainting.networks.device import hardware
        from inpainting.networks.device.compilation import AUTO, compilation_for, import_compiler

        quantization = "" if self.options.quantization == OFF else self.options.quantization
        # With a network that was compiled for other sizes before, an image might not be the same to the last bit.
        is_wanted = self.options.compilation != AUTO or self.options.max_rows != 1
        chosen = hardware.choose(self.options.device, self.options.precision)
        compilation = compilation_for(self.options.compilation, chosen.device) if is_wanted else ""
        if compilation:
            import_compiler()
        freeze_imports(package="diffusers")
        chosen = replace(chosen, quantization=quantization, compilation=compilation)
        budget = self.options.memory_bytes or int(chosen.memory_bytes() * hardware.WEIGHTS_SHARE)
        host_memory = HostMemory(self.options.host_share)
        cache = ModelCache(chosen, budget, models_dir=self.options.models_dir, host_memory=host_memory)
        return Batcher(cache, max_rows=self.options.max_rows, backends=self._backends(cache))

    def _backends(self, cache: ModelCache) -> BackendSelector | None:
        """OpenVINO where it can be used; None in the deterministic mode, as conversions finish at any time.

        None for quantised networks too, which it would read unquantised.
        """
        options = self.options
        is_wanted = options.openvino == "auto" and options.models_dir is not None and options.max_rows != 1
        if cache.hardware.quantization:
            return None
        if not is_wanted or cache.hardware.device.type != "cpu" or not openvino.is_installed():
            return None
        try:
            from inpainting.engines.diffusion.backends.openvino.selector import OpenVinoSelector
        except (ImportError, OSError, RuntimeError) as error:
            logger.warning("OpenVINO is installed and cannot be used: %s", error)
            return None
        return OpenVinoSelector(cache, Path(options.models_dir or ""), options.openvino_bytes)


def has_effect(adapter: ModelSpec, settings: PaintSettings) -> bool:
    """Whether an adapter changes the image, and so has to be loaded: not at a strength of 0."""
    if adapter.kind is Kind.CONTROLNET:
        return any(use.strength for use in settings.control_uses if use.slug == adapter.slug)
    if adapter.kind is Kind.IP_ADAPTER:
        return any(use.scale for use in settings.ip_adapter_uses if use.slug == adapter.slug)
    return True


def create() -> Diffusion:
    """Return the engine as the Django settings configure it."""
    return Diffusion(
        Options(
            device=site.DIFFUSION_DEVICE,
            precision=site.DIFFUSION_PRECISION,
            quantization=site.DIFFUSION_QUANTIZATION,
            compilation=site.DIFFUSION_COMPILE,
            memory_bytes=site.DIFFUSION_MEMORY_MB * 10**6 or None,
            host_share=HOST_SHARE / site.DEVICE_COUNT,
            max_rows=site.DIFFUSION_ROWS or None,
            models_dir=site.MODELS_DIR,
            openvino=site.DIFFUSION_OPENVINO,
        )
    )
