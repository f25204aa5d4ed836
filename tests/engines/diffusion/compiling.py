"""Shared by the tests of compiled networks: a backend of torch.compile that generates no code, and a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.latent_model import LatentModel
from tests.support import tiny_models

PROMPTS = ("a bus", "a red bus in the rain", "bus " * 20)
Compute = Callable[..., Any]


class Backend:
    """A backend of torch.compile. compiling: called for each captured graph. changed: of each output."""

    def __init__(
        self,
        compiling: Callable[[], Any] = lambda: None,
        changed: Callable[[torch.Tensor], torch.Tensor] = torch.clone,
    ) -> None:
        self.compiling, self.changed = compiling, changed
        self.calls = self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Sequence[Any], **options: Any) -> Compute:
        self.graphs += 1
        self.compiling()

        def compute(*arguments: Any) -> Any:
            self.calls += 1
            return tuple(map(self.changed, graph.forward(*arguments)))

        return compute


def stepped(model: LatentModel, width: int, height: int, images: int) -> torch.Tensor:
    """What a model predicts for the first step of several images."""
    states = []
    for number in range(images):
        wanted = InpaintRequest(
            CanonicalImage(np.full((height, width, 3), 99, np.uint8)),
            np.full((height, width), 255, np.uint8),
            PaintSettings(prompt=PROMPTS[number], seed=number, strength=1.0, steps=2, scheduler=None),
        )
        states.append(model.start(wanted, 0, tiny_models.encoded_request(model, wanted))[0])
    return torch.cat(model.predict(states))
