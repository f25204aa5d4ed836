"""ControlNets: the conditioning image of a request, and the residuals that a ControlNet adds to the UNet's features.

L. Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models" (ICCV 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import Control, ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest
from inpainting.core.settings_table import adapter_number

CANNY_THRESHOLDS = (100, 200)
"""Hysteresis thresholds of the edge detector, as in the examples of diffusers' ControlNet pipelines."""
MATCHING_SETTINGS = (
    "block_out_channels",
    "cross_attention_dim",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
)
"""Configuration values that a ControlNet and its UNet have in common."""
NEVER_APPLIED = "The ControlNet was applied in no step: none lies between control_start and control_end."
LATENT_CHANNELS, IMAGE_CHANNELS = 4, 3
HOLE = -1.0
"""Value of masked pixels in the conditioning image of an inpainting ControlNet."""


@dataclass(frozen=True, slots=True, eq=False)
class ControlNetConditioning:
    """A ControlNet for one sample, applied between two shares of the steps, 0 to 1.

    image: [1, 3, 8h, 8w], 0 to 1, in float32; HOLE where an inpainting ControlNet sees masked pixels.
    """

    network: Any
    image: torch.Tensor
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def strength_at(self, index: int, steps: int) -> float:
        """0 in a step that does not lie wholly within the interval, as in diffusers' pipelines."""
        is_inside = index / steps >= self.start and (index + 1) / steps <= self.end
        return self.strength if is_inside else 0.0

    def applies_in(self, steps: int) -> bool:
        """Whether it is applied in any of `steps` steps."""
        return any(self.strength_at(index, steps) for index in range(steps))


def condition(network: Any, spec: ModelSpec, request: InpaintRequest, device: torch.device) -> ControlNetConditioning:
    """Prepare a request's ControlNet. Raises EngineFailed, `control_image_missing`, without the image it needs."""
    settings = request.settings
    image = torch.from_numpy(conditioning_image(spec, request)).permute(2, 0, 1)[None]
    return ControlNetConditioning(
        network,
        image.to(device),
        strength=adapter_number(settings, "control_strength"),
        start=adapter_number(settings, "control_start"),
        end=adapter_number(settings, "control_end"),
    )


def conditioning_image(spec: ModelSpec, request: InpaintRequest) -> NDArray[np.float32]:
    """The input of a ControlNet, [height, width, 3] of the window's size; see `ControlNetConditioning.image`."""
    window = np.asarray(request.image.pixels, np.uint8)
    if spec.control is Control.INPAINT:
        image = to_unit_range(window)
        image[request.mask > 127] = HOLE
        return image
    if spec.control is Control.CANNY:
        edges = cv2.Canny(window, *CANNY_THRESHOLDS)
        return to_unit_range(np.repeat(edges[:, :, None], IMAGE_CHANNELS, axis=2))
    if request.control_image is not None:
        return to_unit_range(to_rgb8(request.control_image))
    if spec.control is Control.TILE:
        return to_unit_range(window)
    raise EngineFailed(
        f"The ControlNet {spec.slug} needs a control image ({spec.control}), and none was sent.",
        code="control_image_missing",
    )


def to_unit_range(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0 to 255 -> 0 to 1."""
    return pixels.astype(np.float32) / np.float32(255)


def check_fits(network: Any, unet: Any, spec: ModelSpec, label: str) -> None:
    """Raises EngineFailed, `part_unfit`, unless the ControlNet was made for UNets of that shape."""
    own, model = network.config, unet.config
    is_fit = all(as_tuple(getattr(own, name)) == as_tuple(getattr(model, name)) for name in MATCHING_SETTINGS)
    is_fit &= per_block(own.layers_per_block, own) == per_block(model.layers_per_block, model)
    is_fit &= (own.in_channels, own.conditioning_channels) == (LATENT_CHANNELS, IMAGE_CHANNELS)
    if not is_fit:
        raise EngineFailed(
            f"The ControlNet {spec.slug} does not fit {label}: it was made for models of another shape.",
            code="part_unfit",
        )


def as_tuple(value: Any) -> Any:
    """A configuration's list as a tuple, so that the two compare equal; any other value as it is."""
    return tuple(value) if isinstance(value, list) else value


def per_block(layers: Any, configuration: Any) -> tuple[int, ...]:
    """`layers_per_block` written out for each block."""
    return (layers,) * len(configuration.block_out_channels) if isinstance(layers, int) else tuple(layers)


def residuals(
    samples: Sequence[tuple[ControlNetConditioning | None, float, int]],
    inputs: torch.Tensor,
    timesteps: torch.Tensor,
    embeds: torch.Tensor,
    conditions: dict[str, Any],
) -> dict[str, Any]:
    """The ControlNet's keyword arguments for the UNet: one call for all samples that it is applied to in this step.

    samples: the ControlNet of each, its strength in this step, the sample's rows of the step batch.
    inputs: [rows, 4 or 9, h, w], of which the ControlNet sees the noisy latents alone. timesteps: [rows]. embeds:
    [rows, tokens, features]. conditions: the UNet's further keyword arguments. Rows without a ControlNet in this step
    get residuals of 0.
    """
    strengths: list[float] = []
    images: list[torch.Tensor] = []
    for control, strength, count in samples:
        strengths += [strength] * count
        if control is not None and strength:
            images.append(control.image.expand(count, -1, -1, -1))
    rows = [row for row, strength in enumerate(strengths) if strength]
    network = next((control.network for control, _, _ in samples if control is not None), None)
    if network is None or not rows:
        return {}
    controlled = torch.tensor(rows, device=inputs.device)
    scales = torch.tensor([strengths[row] for row in rows], device=inputs.device)[:, None, None, None]
    added = conditions.get("added_cond_kwargs")
    dtype = network.dtype  # the UNet may have been turned to bfloat16 since
    down, middle = network(
        inputs[controlled, :LATENT_CHANNELS].to(dtype),
        timesteps[controlled],
        encoder_hidden_states=embeds[controlled].to(dtype),
        controlnet_cond=torch.cat(images).to(dtype),
        added_cond_kwargs=None if added is None else {k: tensor[controlled].to(dtype) for k, tensor in added.items()},
        return_dict=False,
    )

    def in_all_rows(residual: torch.Tensor) -> torch.Tensor:
        scaled = (residual * scales).to(inputs.dtype)
        if len(rows) == len(strengths):
            return scaled
        # Not multiplied by 0: half-precision features of an uncontrolled row may be infinite.
        return scaled.new_zeros(len(strengths), *residual.shape[1:]).index_copy_(0, controlled, scaled)

    return {
        "down_block_additional_residuals": [in_all_rows(residual) for residual in down],
        "mid_block_additional_residual": in_all_rows(middle),
    }
