"""ControlNets: the picture that leads a painting, and what a ControlNet adds to the UNet's features because of it.

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

CANNY_THRESHOLDS = (100, 200)
"""Of the hysteresis, as in the examples of diffusers' ControlNet pipelines."""
SAME_SHAPE = (
    "block_out_channels",
    "cross_attention_dim",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
)
"""What the configurations of a ControlNet and of a UNet say alike where the one fits the other."""
NO_STEP_CONTROLLED = "No step lies between control_start and control_end: the ControlNet led none."
LATENT_CHANNELS, PICTURE_CHANNELS = 4, 3


@dataclass(frozen=True, slots=True, eq=False)
class ControlNetConditioning:
    """A ControlNet at work on one picture, in the steps between two shares of all, 0 to 1.

    picture: [1, 3, 8h, 8w], 0 to 1, in float32; -1 where an inpainting ControlNet is to see a hole.
    """

    network: Any
    picture: torch.Tensor
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def strength_at(self, index: int, steps: int) -> float:
        """0 in a step that does not lie wholly inside, as in diffusers' pipelines."""
        is_inside = index / steps >= self.start and (index + 1) / steps <= self.end
        return self.strength if is_inside else 0.0

    def is_active_in(self, steps: int) -> bool:
        """Whether it leads in any step of so many."""
        return any(self.strength_at(index, steps) for index in range(steps))


def lead(network: Any, spec: ModelSpec, request: InpaintRequest, device: torch.device) -> ControlNetConditioning:
    """What a request's ControlNet does. Raises EngineFailed, `control_image_missing`, without the picture it needs."""
    settings = request.settings
    picture = torch.from_numpy(control_picture(spec, request)).permute(2, 0, 1)[None]
    return ControlNetConditioning(
        network,
        picture.to(device),
        1.0 if settings.control_strength is None else settings.control_strength,
        settings.control_start or 0.0,
        1.0 if settings.control_end is None else settings.control_end,
    )


def control_picture(spec: ModelSpec, request: InpaintRequest) -> NDArray[np.float32]:
    """What a ControlNet looks at, [height, width, 3] of the window's size; see `ControlNetConditioning.picture`."""
    window = np.asarray(request.image.pixels, np.uint8)
    if spec.control is Control.INPAINT:
        seen = as_shares(window)
        seen[request.mask > 127] = -1
        return seen
    if spec.control is Control.CANNY:
        edges = cv2.Canny(window, *CANNY_THRESHOLDS)
        return as_shares(np.repeat(edges[:, :, None], PICTURE_CHANNELS, axis=2))
    if request.control_image is not None:
        return as_shares(to_rgb8(request.control_image))
    if spec.control is Control.TILE:
        return as_shares(window)
    raise EngineFailed(
        f"The ControlNet {spec.slug} is led by a picture ({spec.control}), and none was sent.",
        code="control_image_missing",
    )


def as_shares(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0 to 255 -> 0 to 1."""
    return pixels.astype(np.float32) / np.float32(255)


def check_fits(network: Any, unet: Any, spec: ModelSpec, label: str) -> None:
    """Raises EngineFailed, `part_unfit`, unless the ControlNet was made for UNets of that shape."""
    own, model = network.config, unet.config
    is_fit = all(plain(getattr(own, name)) == plain(getattr(model, name)) for name in SAME_SHAPE)
    is_fit &= per_block(own.layers_per_block, own) == per_block(model.layers_per_block, model)
    is_fit &= (own.in_channels, own.conditioning_channels) == (LATENT_CHANNELS, PICTURE_CHANNELS)
    if not is_fit:
        raise EngineFailed(
            f"The ControlNet {spec.slug} does not fit {label}: it was made for models of another shape.",
            code="part_unfit",
        )


def plain(value: Any) -> Any:
    """A list of a configuration as it compares with a tuple of another."""
    return tuple(value) if isinstance(value, list) else value


def per_block(layers: Any, configuration: Any) -> tuple[int, ...]:
    return (layers,) * len(configuration.block_out_channels) if isinstance(layers, int) else tuple(layers)


@dataclass(frozen=True, slots=True, eq=False)
class StepControl:
    """The ControlNet of one sample in one step. rows: the sample's rows of the batch."""

    lead: ControlNetConditioning | None
    strength: float
    rows: int


def residuals(
    controls: Sequence[StepControl],
    inputs: torch.Tensor,
    times: torch.Tensor,
    texts: torch.Tensor,
    told: dict[str, Any],
) -> dict[str, Any]:
    """What the UNet is given beside its inputs: one call of the ControlNet for all whom it leads in this step.

    inputs: [rows, 4 or 9, h, w], of which it sees the noisy latents alone. times: [rows]. texts: [rows, tokens,
    features]. told: what else the UNet is told of each row. Rows that are not led now get nothing added.
    """
    strengths: list[float] = []
    pictures: list[torch.Tensor] = []
    for one in controls:
        strengths += [one.strength] * one.rows
        if one.lead is not None and one.strength:
            pictures.append(one.lead.picture.expand(one.rows, -1, -1, -1))
    rows = [row for row, strength in enumerate(strengths) if strength]
    network = next((one.lead.network for one in controls if one.lead is not None), None)
    if network is None or not rows:
        return {}
    led = torch.tensor(rows, device=inputs.device)
    share = torch.tensor([strengths[row] for row in rows], device=inputs.device)[:, None, None, None]
    added = told.get("added_cond_kwargs")
    down, middle = network(
        inputs[led, :LATENT_CHANNELS],
        times[led],
        encoder_hidden_states=texts[led],
        controlnet_cond=torch.cat(pictures).to(network.dtype),
        added_cond_kwargs=None if added is None else {name: tensor[led] for name, tensor in added.items()},
        return_dict=False,
    )

    def placed(residual: torch.Tensor) -> torch.Tensor:
        scaled = (residual * share).to(residual.dtype)
        if len(rows) == len(strengths):
            return scaled
        # Not multiplied by 0: half-precision features of a row that nobody asked for may be infinite.
        return residual.new_zeros(len(strengths), *residual.shape[1:]).index_copy_(0, led, scaled)

    return {
        "down_block_additional_residuals": [placed(residual) for residual in down],
        "mid_block_additional_residual": placed(middle),
    }
