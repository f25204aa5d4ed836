"""FLUX.1 Kontext: a transformer that edits an image by instructions, and takes it as further tokens."""

from __future__ import annotations

from typing import ClassVar

import torch

from inpainting.engines.diffusion.flow_model import pack
from inpainting.families.flux_dev.network import FluxDev


class FluxKontext(FluxDev):
    """A loaded model of the family flux-kontext. The tokens of the source image follow those of the latents."""

    trained_for: ClassVar[str] = "editing"
    samples_image = False

    def condition(self, image: torch.Tensor) -> torch.Tensor:
        """Return the tokens of the source image, [1, tokens, channels]. image: [1, c, h, w]."""
        return pack(image)

    def token_places(self, rows: int, columns: int) -> torch.Tensor:
        """Return the places of all tokens. The source image is image 1, at the places of image 0."""
        places = super().token_places(rows, columns)
        return torch.cat([places, places + torch.tensor([1.0, 0.0, 0.0])])
