"""The engine interface: plans, engine declarations, and the method `inpaint`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.specs import ControlImageKind, Kind, LoraSpec, ModelSpec, PresetAdapters
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Window, WindowRule
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.network_calls import network_calls
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import sentence


class Queue(StrEnum):
    """The workers that run an engine's generations: those on the CPU, or those of the process that owns the GPU.

    ANALYSIS: segmenters and captioners, beside the generations, so that a click does not wait for one.
    """

    CPU = "cpu"
    GPU = "gpu"
    ANALYSIS = "analysis"

    @property
    def served_with(self) -> str:
        """The name in `--queues` of the processes that serve it."""
        return Queue.CPU.value if self is Queue.ANALYSIS else self.value


@dataclass(frozen=True, slots=True)
class LoadingModel:
    """The model that an engine waits for before its first step."""

    label: str
    byte_count: int  # of its weights in memory; 0: not known


@dataclass(frozen=True, slots=True)
class Step:
    """The progress of an engine: `done` of `of` steps, 0 while that is not known."""

    done: int
    of: int
    preview: NDArray[np.uint8] | None = None  # the unfinished image, small, RGB [height, width, 3]
    box: Box | None = (
        None  # the part of the image that it shows; engines leave it out, `painting.StepRelay` fills it in
    )
    notes: tuple[str, ...] = ()  # sentences about what differs from the request
    computed_by: str = ""  # which backend computes, and how precisely, where the engine has several
    loading: LoadingModel | None = None  # before the first step


OnStep = Callable[[Step], None]
"""Called after each step, at least once a second; raises `core.errors.Cancelled` to stop the engine."""


class ModelCatalog(Protocol):
    """The models, LoRAs and adapters of a site. Every lookup raises InvalidRequest, whose message lists the
    available names or explains how to install the missing one."""

    def find(self, name: str | None, engine: str) -> ModelSpec:
        """Return the installed model of that slug or alias, for that engine; None is the engine's default model."""
        ...

    def find_lora(self, slug: str, field: str = "loras") -> LoraSpec: ...

    def find_adapter(self, name: str, kind: Kind, field: str) -> ModelSpec:
        """Return the installed adapter of that slug or alias.

        field: the setting that names it, for errors.
        """
        ...

    def preset_adapters(self, family: str) -> PresetAdapters:
        """Return the LoRA and the VAE of the preset `draft`."""
        ...

    def find_preprocessor(self, control: str) -> tuple[ModelSpec, ...]:
        """Return the installed models that compute control images of that kind, see `Resolution`; empty without."""
        ...

    def find_upscaler(self, name: str | None, *, built_in: Sequence[str]) -> ModelSpec | None:
        """Return the installed upscaler of that slug or alias; for None the first installed one, or None.

        built_in: the names of those that need no model, for errors.
        """
        ...

    def has_installed(self, engine: str) -> bool: ...

    def find_family(self, name: str) -> str | None:
        """Return the family of the model of that name, installed or not; None for an unknown name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolution:
    """Settings resolved by an engine."""

    settings: PaintSettings  # with every default filled in
    window_rule: WindowRule  # how the engine's window is placed and scaled
    model: ModelSpec | None = None  # None if the engine needs none
    loras: tuple[LoraSpec, ...] = ()  # of the request and of its regions, see `PaintSettings.lora_slugs`
    adapters: tuple[ModelSpec, ...] = ()  # the VAE, ControlNets and IP-Adapters that the settings name, each once
    embeddings: tuple[ModelSpec, ...] = ()  # in the order of the settings
    # By the kind of control image, of the kinds that the ControlNets take, the installed models that compute one: the
    # model that does, then those that it needs.
    preprocessors: Mapping[ControlImageKind, tuple[ModelSpec, ...]] = field(default_factory=dict)

    @property
    def required_model(self) -> ModelSpec:
        """The model, for engines that always have one. Raises ValueError without."""
        if self.model is None:
            raise ValueError("This plan has no model.")
        return self.model

    @property
    def controls(self) -> tuple[ControlImageKind, ...]:
        """The kinds of the control images, in the order of the ControlNets; of a Union, the requested one."""
        kinds = {adapter.slug: adapter.control for adapter in self.adapters if adapter.kind is Kind.CONTROLNET}
        uses = [(use, kind) for use in self.settings.control_uses if (kind := kinds.get(use.slug))]
        return tuple(
            ControlImageKind(use.type) if kind is ControlImageKind.UNION and use.type else kind for use, kind in uses
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDeclaration:
    """The static properties of an engine; importing a declaration loads no heavy library."""

    name: str  # in the API and in `core.settings_table`
    label: str  # for people
    queue: Queue
    ignored_settings: frozenset[str]  # names of the settings that it never reads
    needs_surroundings: bool  # it paints from pixels that are kept, so it cannot repaint the whole image
    # Raises InvalidRequest for settings that it cannot paint, and where a model or adapter is not installed.
    resolve: Callable[[PaintSettings, ModelCatalog], Resolution]
    library: str = ""  # the package that it computes with, which the extra of the engine's name installs; "" for none
    model_label: str = ""  # of the choice of its model, for people; "" where it has none

    @property
    def is_installed(self) -> bool:
        """Whether its library is installed. Imports nothing."""
        return not self.library or find_spec(self.library) is not None

    def check_installed(self) -> None:
        """Raise InvalidRequest, `engine_not_installed`, where its library is missing."""
        if not self.is_installed:
            raise InvalidRequest(
                sentence("This installation has no {name} engine; “pip install .[{name}]” adds it.", name=self.name),
                code="engine_not_installed",
                field="engine",
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SettingsPlan(Resolution):
    """The part of a plan that does not depend on the images."""

    engine: EngineDeclaration
    reason: str  # a sentence for people, why this engine was chosen
    requested: PaintSettings  # the settings before they were resolved
    ignored: Mapping[str, str]  # the names of the settings without effect, each with the reason
    warnings: tuple[str, ...] = ()  # sentences for people
    max_megapixels: float | None = None  # to repaint, all images together; None: no limit
    # Of what enlarges the image before it is painted; None where that needs no model, or nothing is enlarged.
    upscaler_model: ModelSpec | None = None

    @property
    def is_tiled(self) -> bool:
        """Whether a large area is painted in the tiles of `engines.tiles`."""
        return self.settings.tiled and "tiled" not in self.ignored

    @property
    def network_calls(self) -> int:
        """The number of calls of the network for one image, 0 without steps."""
        settings = self.settings
        return network_calls(settings.steps, settings.lanpaint_steps, self.ignored, regions=settings.regions)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan(SettingsPlan):
    """The whole plan of one request."""

    request: InpaintRequest  # the resolved settings, and the images as they were sent, or cropped to the window
    mask: Mask  # the effective one, after `include_shadow` and `mask_grow`
    window: Window  # the part of the image that the engine gets, and its size there
    # The conditioning images that the engine reads, by their names in `InpaintRequest`.
    images: Mapping[str, CanonicalImage] = field(default_factory=dict)


class Engine(Protocol):
    """An engine paints windows. It is deterministic: the same plan gives the same bytes."""

    declaration: EngineDeclaration

    def inpaint(self, plan: Plan, on_step: OnStep) -> Iterable[NDArray[np.uint8]]:
        """Paint the masked part of an 8-bit RGB window.

        plan: of the window alone, see `painting.cut_out`.
        Returns `settings.num_images` images [height, width, 3] of the window's size, or makes each when it is taken;
        pixels outside the mask are discarded. Raises EngineFailed, and lets Cancelled from `on_step` propagate.
        """
        ...
