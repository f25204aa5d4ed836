"""What an engine is: one method, and two facts about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.specs import Control, ModelSpec
from inpainting.core.geometry import Box, Window, WindowRule
from inpainting.core.picture import Mask, Picture
from inpainting.core.request import InpaintRequest, PaintSettings


@dataclass(frozen=True, slots=True)
class Step:
    """One step is done: `done` of `of` (0 while that is not known).

    preview: how it looks so far, a small RGB picture [height, width, 3].
    box: the part of the whole image that the preview shows. Engines leave it out; `painting.paint` knows it.
    notes: sentences about what runs otherwise than asked.
    computed_by: which of an engine's ways computes it, and how precisely, where it has several.
    """

    done: int
    of: int
    preview: NDArray[np.uint8] | None = None
    box: Box | None = None
    notes: tuple[str, ...] = ()
    computed_by: str = ""


class Queue(StrEnum):
    """A line of generations and the workers that serve it: on the processor, or talking to whoever owns the GPU."""

    CPU = "cpu"
    GPU = "gpu"


OnStep = Callable[[Step], None]
"""Called after each step, at least once a second; raises `core.errors.Cancelled` to stop the engine."""


class Engine(Protocol):
    """Paints windows. Deterministic: the same request gives the same bytes."""

    name: str
    ignores: frozenset[str]
    """Names of `PaintSettings` fields that change nothing here, whatever the others are."""
    needs_surroundings: bool
    """Whether it paints from what is kept, so that a mask over the whole picture leaves it nothing."""
    queue: Queue
    """Whose workers run it."""

    def settled(self, settings: PaintSettings) -> PaintSettings:
        """The settings with the engine's own choice where they say nothing and it matters.

        Raises InvalidRequest for what the engine cannot do.
        """
        ...

    def ignored(self, settings: PaintSettings) -> frozenset[str]:
        """Names of the fields that change nothing of what is painted with these settings, which are settled."""
        ...

    def looks_at(self, settings: PaintSettings) -> Control | None:
        """What the ControlNet of these settings is guided by; None where it paints without one."""
        ...

    def window(self, settings: PaintSettings) -> WindowRule:
        """How much of the picture it wants to see around the mask, and at what size."""
        ...

    def inpaint(self, request: InpaintRequest, on_step: OnStep) -> list[NDArray[np.uint8]]:
        """Paint the masked part of an 8-bit RGB window.

        Returns `settings.num_images` pictures [height, width, 3] of the window's size; what they show outside the
        mask does not matter. Raises EngineFailed, and lets Cancelled from `on_step` pass.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsPlan:
    """How a request's settings are painted, whatever its pictures are.

    engine, reason: the engine that paints, and a sentence for people: why this one. requested, settings: before and
    after every default was filled in. model: None where the engine needs none. ignored: the names of the settings that
    change nothing here, each with the reason. warnings: sentences for people.
    """

    engine: Engine
    reason: str
    requested: PaintSettings
    settings: PaintSettings
    model: ModelSpec | None = None
    control: Control | None = None
    ignored: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan(SettingsPlan):
    """A `SettingsPlan` for the pictures of one request.

    request: the pictures as they were sent, with the resolved settings. mask: the effective one, after `mask_grow`.
    window: the part of the picture that the engine gets, and its size there. control_image, ip_adapter_image: None
    where none was sent or the engine does not read it.
    """

    request: InpaintRequest
    mask: Mask
    window: Window
    control_image: Picture | None = None
    ip_adapter_image: Picture | None = None
