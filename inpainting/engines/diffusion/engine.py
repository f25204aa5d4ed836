"""The engine that paints what a prompt says. Light to import: torch comes with the first painting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog import families
from inpainting.catalog.specs import (
    PART_LABELS,
    Control,
    DraftParts,
    FewSteps,
    Kind,
    LoraSpec,
    ModelSpec,
    check_scheduler,
)
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size, WindowRule
from inpainting.core.request import InpaintRequest, LoraUse, PaintSettings
from inpainting.core.settings_table import FLOW_SCHEDULERS, MAX_LORAS, RANGES, adapter_defaults, idle, not_read_by
from inpainting.core.validation import check_range
from inpainting.engines.base import OnStep, Queue, Step
from inpainting.engines.diffusion.backends import openvino
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR

if TYPE_CHECKING:
    from inpainting.engines.diffusion.backends.openvino.networks import OpenVinoBackends
    from inpainting.engines.diffusion.serving.batcher import Batcher
    from inpainting.engines.diffusion.serving.model_cache import ModelCache

logger = logging.getLogger(__name__)

CONTEXT, LEAST_CONTEXT = 0.5, 32
PARTS = {"vae": Kind.VAE, "control": Kind.CONTROLNET, "ip_adapter": Kind.IP_ADAPTER}
"""Settings that name a part of the catalog, and of which kind."""
STRENGTHS = {"control": "control_strength", "ip_adapter": "ip_adapter_scale"}
"""Settings by which a part does nothing where they are 0."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an administrator decides about the device; see the settings of the same names.

    memory_bytes: weights kept in the device's memory at most; None is most of what it has. max_rows: see `Batcher`.
    models_dir: the folder of all models, in which a small decoder for previews may lie.
    openvino: auto or off; auto computes with it on a processor, where it is installed. openvino_bytes: what its files
    may take on the disk.
    """

    device: str = "auto"
    precision: str = "auto"
    memory_bytes: int | None = None
    max_rows: int | None = None
    models_dir: Path | None = None
    openvino: str = "auto"
    openvino_bytes: int = 20 * 10**9


class Diffusion:
    """Stable Diffusion and its kin. find_model: a name or None (the default) -> an installed model; find_lora alike;
    find_part: a name, the kind of part and the setting that names it. draft_parts: what the preset `draft` takes.

    All raise InvalidRequest, which says what there is or how to get one.
    """

    name = "diffusion"
    queue = Queue.GPU
    ignores = not_read_by(name)
    needs_surroundings = False

    def __init__(
        self,
        find_model: Callable[[str | None], ModelSpec],
        options: Options | None = None,
        *,
        find_lora: Callable[[str], LoraSpec] | None = None,
        find_part: Callable[[str, Kind, str], ModelSpec] | None = None,
        draft_parts: Callable[[str], DraftParts] | None = None,
    ) -> None:
        self.find_model = find_model
        self.find_lora = find_lora or no_lora
        self.find_part = find_part or no_part
        self.draft_parts = draft_parts or (lambda family: DraftParts())
        self.options = options or Options()
        self._making = threading.Lock()

    def settled(self, settings: PaintSettings) -> PaintSettings:
        """The settings with the model's own values where they say nothing, so that the history tells all of it.

        A LoRA for few steps knows better than the model how many, how guided and by which scheduler; of several the
        first does. Raises InvalidRequest where there is no such model or LoRA, or no model at all, or no torch to run
        it, or a LoRA of another family, or a scheduler or guidance that models of the family do not take.
        """
        if not is_installed():
            raise InvalidRequest(
                "This installation has no diffusion engine; “pip install .[diffusion]” adds it.",
                code="engine_not_installed",
                field="engine",
            )
        spec = self.find_model(settings.model)
        check_drives(settings, spec)
        settings = self._drafted(settings, spec)
        usual: ModelSpec | FewSteps = spec
        for use in reversed(settings.loras):
            lora = self.find_lora(use.slug)
            check_fits(lora, spec)
            usual = lora.few_steps or usual if use.weight else usual
        parts: dict[str, Any] = {
            field: self._part(settings, field, spec).slug for field in PARTS if getattr(settings, field) is not None
        }
        return replace(
            settings,
            model=spec.slug,
            **parts,
            **adapter_defaults(settings),
            embeddings=tuple(part.slug for part in self._embeddings(settings, spec)),
            steps=usual.steps if settings.steps is None else settings.steps,
            guidance_scale=usual.guidance_scale if settings.guidance_scale is None else settings.guidance_scale,
            scheduler=settings.scheduler or usual.scheduler,
        )

    def _drafted(self, settings: PaintSettings, model: ModelSpec) -> PaintSettings:
        """With what the preset `draft` stands for, which a LoRA of the kind lcm completes: steps, guidance, scheduler.

        Raises InvalidRequest, `preset_unavailable`, where something of it is not here.
        """
        if settings.preset is None:
            return settings
        if families.get(model.family).lora is None:
            raise InvalidRequest(
                f"Models of the family {model.family} have no drafts.", code="preset_unavailable", field="preset"
            )
        parts = self.draft_parts(model.family)
        if parts.lora is None or parts.vae is None:
            raise InvalidRequest(
                f"The preset draft needs, for models of the family {model.family}: {' and '.join(parts.lacking)}.",
                code="preset_unavailable",
                field="preset",
            )
        weight = next((use.weight for use in settings.loras if use.slug == parts.lora and use.weight), 1.0)
        others = [use for use in settings.loras if use.slug != parts.lora]
        if len(others) >= MAX_LORAS:
            raise InvalidRequest(
                f"A draft wears the LoRA {parts.lora}; beside it at most {MAX_LORAS - 1} are allowed.",
                code="field_out_of_range",
                field="loras",
                limit=MAX_LORAS - 1,
                actual=len(others),
            )
        return replace(settings, loras=(LoraUse(parts.lora, weight), *others), vae=settings.vae or parts.vae)

    def _part(self, settings: PaintSettings, field: str, model: ModelSpec) -> ModelSpec:
        """The part that a setting names. Raises InvalidRequest where there is none, or it is for another family."""
        return self._fitting(getattr(settings, field), PARTS[field], field, model)

    def _embeddings(self, settings: PaintSettings, model: ModelSpec) -> list[ModelSpec]:
        """Raises InvalidRequest as `_part`."""
        return [self._fitting(name, Kind.EMBEDDING, "embeddings", model) for name in settings.embeddings]

    def _fitting(self, name: str, kind: Kind, field: str, model: ModelSpec) -> ModelSpec:
        part = self.find_part(name, kind, field)
        if part.family != model.family:
            raise InvalidRequest(
                f"The {PART_LABELS[part.kind]} {part.slug} is for models of the family {part.family}; {model.label} is "
                f"of {model.family}.",
                code="part_unfit",
                field=field,
                actual=part.slug,
            )
        return part

    def ignored(self, settings: PaintSettings) -> frozenset[str]:
        """What models of that family do not read, and what other settings make idle."""
        return families.get(self.find_model(settings.model).family).ignored_settings.union(idle(settings))

    def looks_at(self, settings: PaintSettings) -> Control | None:
        """Raises InvalidRequest where there is no such ControlNet any more."""
        name = settings.control
        return None if name is None else self.find_part(name, Kind.CONTROLNET, "control").control

    def window(self, settings: PaintSettings) -> WindowRule:
        """As much around the mask as the model was trained to see, in a few sizes only: equal ones share a batch."""
        spec = self.find_model(settings.model)
        context, least = CONTEXT, LEAST_CONTEXT
        if settings.only_masked_padding is not None:
            context, least = 0.0, settings.only_masked_padding
        if settings.width is not None or settings.height is not None:
            sides = (settings.width or spec.width, settings.height or spec.height)
            exact = Size(*(whole_cells(side, spec.family) for side in sides))
            return WindowRule(context, least, exact=exact)
        native = min(spec.width, spec.height)
        # The small models still paint well at half as much again; the large ones are slow enough at their own size.
        most = native if native >= 1024 else native * 3 // 2
        return WindowRule(
            context, least, least_side=native, most_side=most, multiple=whole_cells(native // 4, spec.family)
        )

    def inpaint(self, request: InpaintRequest, on_step: OnStep) -> list[NDArray[np.uint8]]:
        """`settings.num_images` pictures [height, width, 3]. Picture n is the one of seed + n alone.

        Raises EngineFailed: `model_unavailable`, `model_refused`, `model_produced_invalid_output`, `gpu_out_of_memory`,
        `lora_unfit`, `part_unavailable`, `part_refused`, `part_unfit`, `control_image_missing`,
        `ip_adapter_image_missing`, `model_failed`.
        """
        settings = request.settings
        last = Step(0, 0)

        def follow(step: Step) -> None:
            nonlocal last
            last = step
            on_step(step)

        model = self.find_model(settings.model)
        loras = [self.find_lora(use.slug) for use in settings.loras]
        parts = [self._part(settings, field, model) for field in PARTS if is_wanted(settings, field)]
        embeddings = self._embeddings(settings, model)
        pictures, notes = self.batcher.paint(request, model, follow, loras, parts, embeddings)
        on_step(Step(last.of, last.of, notes=notes))
        return pictures

    def warm_up(self, name: str) -> None:
        """Load a model before anybody asks for it; returns before it is loaded. Raises InvalidRequest as `settled`."""
        self.batcher.warm(self.find_model(self.settled(PaintSettings(model=name)).model))

    @property
    def batcher(self) -> Batcher:
        """The one of this process. The first use brings torch along."""
        with self._making:
            return self._batcher

    @cached_property
    def _batcher(self) -> Batcher:
        from inpainting.engines.diffusion import hardware
        from inpainting.engines.diffusion.serving.batcher import Batcher
        from inpainting.engines.diffusion.serving.model_cache import ModelCache

        chosen = hardware.choose(self.options.device, self.options.precision)
        budget = self.options.memory_bytes or int(chosen.memory_bytes() * hardware.WEIGHTS_SHARE)
        cache = ModelCache(chosen, budget, models_dir=self.options.models_dir)
        return Batcher(cache, max_rows=self.options.max_rows, networks=self._networks(cache))

    def _networks(self, cache: ModelCache) -> OpenVinoBackends | None:
        """OpenVINO for the models in the cache; None in the deterministic mode, as conversions finish at any time."""
        options = self.options
        is_wanted = options.openvino == "auto" and options.models_dir is not None and options.max_rows != 1
        if not is_wanted or cache.hardware.device.type != "cpu" or not openvino.is_installed():
            return None
        try:
            from inpainting.engines.diffusion.backends.openvino.networks import OpenVinoBackends
        except (ImportError, OSError, RuntimeError) as error:
            logger.warning("OpenVINO is installed and cannot be used: %s", error)
            return None
        return OpenVinoBackends(cache, Path(options.models_dir or ""), options.openvino_bytes)


def is_wanted(settings: PaintSettings, field: str) -> bool:
    """Whether the part that a setting may name has anything to do."""
    return getattr(settings, field) is not None and (field not in STRENGTHS or getattr(settings, STRENGTHS[field]) != 0)


def no_lora(slug: str) -> LoraSpec:
    """Where there is no catalog of them."""
    raise InvalidRequest("There are no LoRAs here.", code="lora_not_found", field="loras")


def no_part(name: str, kind: Kind, field: str) -> ModelSpec:
    """Where there is no catalog of them."""
    raise InvalidRequest(f"There is no {PART_LABELS[kind]} here.", code="part_not_found", field=field)


def check_fits(lora: LoraSpec, model: ModelSpec) -> None:
    """Raises InvalidRequest, `lora_unfit`, for a LoRA that was made for models of another family."""
    if lora.family != model.family:
        raise InvalidRequest(
            f"The LoRA {lora.slug} is for models of the family {lora.family}; {model.label} is of {model.family}.",
            code="lora_unfit",
            field="loras",
            actual=lora.slug,
        )


def check_drives(settings: PaintSettings, model: ModelSpec) -> None:
    """Raises InvalidRequest for a guidance that is too high for the model, and `scheduler_unfit` for a scheduler of
    flow matching where the model is of another kind; of the other kind's names the nearest runs in their place."""
    if settings.guidance_scale is not None:
        lowest = RANGES["guidance_scale"][0]
        check_range("guidance_scale", settings.guidance_scale, lowest, families.get(model.family).max_guidance_scale)
    if settings.scheduler in FLOW_SCHEDULERS:
        check_scheduler(settings.scheduler, model.family)


def is_installed() -> bool:
    """Whether this installation has what it computes with; a light one has not. Imports nothing."""
    return find_spec("torch") is not None


def whole_cells(pixels: int, family: str) -> int:
    """Rounded to a multiple of 8, a latent pixel's side, or of as many as the family takes as one."""
    cell = VAE_SCALE_FACTOR * families.get(family).latent_patch
    return max(1, round(pixels / cell)) * cell
