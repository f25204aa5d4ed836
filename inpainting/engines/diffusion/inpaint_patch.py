"""Fooocus' inpaint patch: it makes a plain UNet see what the mask keeps (github.com/lllyasviel/Fooocus).

The weights of the UNet are changed, and a convolution of the mask and of the kept part's latents is added to the output
of its first layer. The UNet then takes the channels that one trained for inpainting takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn.functional import conv2d, pad

from inpainting.catalog.inspection.formats.checkpoint_file import INPAINTING_CHANNELS, PLAIN_CHANNELS
from inpainting.catalog.inspection.inpaint_patch import HEAD, MAXIMUM, MINIMUM
from inpainting.core.sentences import sentence
from inpainting.families.declaration import OriginalName


class PatchedInput(torch.nn.Conv2d):  # type: ignore[misc]  # torch ships no types for it
    """The first layer of a UNet, for [n, 4 + 1 + 4, h, w]: noisy latents, the mask, and the kept part's latents."""

    def __init__(self, layer: torch.nn.Conv2d, head: torch.Tensor) -> None:
        """layer: of a plain UNet, whose weights it takes over. head: [features, 5, 3, 3]."""
        super().__init__(layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.head = torch.nn.Parameter(head.to(layer.weight), requires_grad=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        noisy, kept = inputs.split([PLAIN_CHANNELS, INPAINTING_CHANNELS - PLAIN_CHANNELS], dim=1)
        return super().forward(noisy) + conv2d(pad(kept, (1, 1, 1, 1), "replicate"), self.head)


def is_patched(unet: Any) -> bool:
    return isinstance(unet.conv_in, PatchedInput)


def apply_patch(unet: Any, path: Path, original_name: OriginalName) -> list[str]:
    """Change a UNet as its patch says. Return a note about weights of the patch that it does not have.

    original_name: see `LoraSupport.original_name`. Raises ValueError for a patch that does not fit.
    """
    if unet.config.in_channels != PLAIN_CHANNELS:
        raise ValueError("the inpaint patch is for a UNet that was not trained for inpainting")
    with safe_open(path, "pt") as patch, torch.no_grad():
        head, remaining = patch.get_tensor(HEAD), {*patch.keys()} - {HEAD}
        if len(head) != unet.conv_in.out_channels:
            raise ValueError(f"the inpaint patch is for {len(head)} features, not {unet.conv_in.out_channels}")
        for name, weight in unet.named_parameters():
            path_of_layer, _, kind = name.rpartition(".")
            original, _ = original_name(path_of_layer, unet) or ("", 0)
            key = f"{original}.{kind}"
            if key not in remaining:
                continue
            numbers, least, most = (patch.get_tensor(key + suffix) for suffix in ("", MINIMUM, MAXIMUM))
            if numbers.shape != weight.shape:
                raise ValueError(f"the inpaint patch has another shape for {key}")
            change = numbers.float() / 255 * (most - least) + least
            weight.copy_(weight.float() + change.to(weight.device))
            remaining -= {key, key + MINIMUM, key + MAXIMUM}
    unet.conv_in = PatchedInput(unet.conv_in, head)
    unet.register_to_config(in_channels=INPAINTING_CHANNELS)
    names = sorted(name for name in remaining if not name.endswith((MINIMUM, MAXIMUM)))
    if not names:
        return []
    note = sentence(
        "The inpaint patch changes {count} weights that the UNet does not have ({name}, …).",
        count=len(names),
        name=names[0],
    )
    return [note]
