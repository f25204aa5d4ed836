"""SAM and SAM 2 with set weights: what is bright is the object, whatever the points and boxes say.

Only two channels are used, the brightness and its negative. Every attention and every feed-forward adds nothing, so the
brightness passes from the patches to the mask, and the polarity of a mask is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.support import tiny_vision_models

SCORES = {0: 0.2, 1: 0.7, 2: 0.9, 3: 0.8}
"""Of the mask for several points, and of the three for one."""
PASSED_ON = (
    *("vision_encoder.neck.conv1.weight", "vision_encoder.neck.conv2.weight"),  # SAM
    *(f"vision_encoder.backbone.blocks.{index}.proj.weight" for index in (1, 2, 4)),  # SAM 2, between its stages
    "vision_encoder.neck.convs.1.weight",
    *("mask_decoder.upscale_conv1.weight", "mask_decoder.upscale_conv2.weight"),
)
"""Layers that pass the two channels on."""
THRESHOLD = 1.1
"""Added to the brightness of a patch, which is -2 for black and 2.4 for white: one with a fifth of white is bright."""


def select_what_is_bright(model: Any) -> Any:
    """Set the weights of a SamModel or Sam2Model."""
    with torch.no_grad():
        for name, values in model.named_parameters():
            values.fill_(1.0 if "layer_norm" in name and name.endswith("weight") else 0.0)
        weights = dict(model.named_parameters())
        patches = next(values for name, values in weights.items() if name.endswith("patch_embed.projection.weight"))
        patches[0], patches[1] = 1 / patches[0].numel(), -1 / patches[0].numel()
        biases = next(values for name, values in weights.items() if name.endswith("patch_embed.projection.bias"))
        biases[0], biases[1] = THRESHOLD, -THRESHOLD
        for name in PASSED_ON:
            if name in weights:
                pass_on(weights[name])
        for index, score in SCORES.items():
            weights[f"mask_decoder.output_hypernetworks_mlps.{index}.proj_out.bias"][:2] = torch.tensor([1.0, -1.0])
            weights["mask_decoder.iou_prediction_head.proj_out.bias"][index] = score
    return model


def pass_on(weight: torch.Tensor) -> None:
    """Let the first two inputs be the first two outputs: of a linear layer, a convolution or a transposed one."""
    for channel in (0, 1):
        kernel = weight[channel, channel]
        if kernel.ndim and kernel.shape[0] == 3:
            kernel[1, 1] = 1  # the middle
        else:
            kernel.fill_(1)


def saved(folder: Path, name: str) -> Path:
    """Save the model of that name, "sam" or "sam2", in transformers' layout."""
    tiny_vision_models.saved(folder, name)
    select_what_is_bright(tiny_vision_models.MODELS[name]()).eval().save_pretrained(folder)
    return folder
