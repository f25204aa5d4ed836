"""Regional prompts: parts of an image with a prompt of their own, each with a mask and a weight.

With the prediction e_i of the network for prompt i, 0 being the prompt of the request, and the weight w_i of a region
times its mask m_i, 0 to 1, the prediction of a latent pixel is

    e = sum(w_i m_i e_i) / sum(w_i m_i)        where w_0 m_0 = max(0, 1 - sum of w_i m_i over all regions),

so that a weight of 0 leaves the prompt of the request alone, and 1 leaves nothing of it. That is equation 5 of
MultiDiffusion (O. Bar-Tal et al., "MultiDiffusion: Fusing Diffusion Paths for Controlled Image Generation", 2023, arXiv
2302.08113), which averages the latents after a step; a scheduler's step is linear in the prediction. The unprompted
prediction of classifier-free guidance is the same for all prompts with the same LoRAs, and is computed once for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning


@dataclass(frozen=True, slots=True, eq=False)
class RegionalTexts:
    """What the regions of an image add to its text.

    texts: of each prompt but the first; without a negative prompt where an earlier one has the same LoRAs.
    loras: with which each of `texts` is predicted. unprompted: for each prompt, the first too, the number of the first
    one with the same LoRAs. weights: of all prompts, [prompts, 1, h, w]; they add up to 1 in each pixel.
    """

    texts: tuple[TextConditioning, ...]
    loras: tuple[ActiveLoras, ...]
    unprompted: tuple[int, ...]
    weights: torch.Tensor

    def mean(self, predictions: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the weighted mean of a step's predictions, [rows, c, h, w].

        predictions: of each prompt, those in `unprompted` with all rows of the step, the others [1, c, h, w].
        """
        mean = self._mean([prediction[-1:] for prediction in predictions])
        unprompted = predictions[0][:-1]
        if len(unprompted) and any(self.unprompted):
            unprompted = self._mean([predictions[number][:-1] for number in self.unprompted])
        return torch.cat([unprompted, mean])

    def _mean(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the weighted mean, [1, c, h, w], of one row for each prompt."""
        return (self.weights * torch.cat(tuple(rows))).sum(dim=0, keepdim=True)
