"""ControlNets of Z-Image-Fun (github.com/aigc-apps/VideoX-Fun): what they see, and what they add to Z-Image's layers.

A ControlNet computes the first layers of the model's own transformer, which it does not hold itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.transformers.transformer_z_image import SEQ_MULTI_OF
from torch.nn.functional import pad

from inpainting.catalog.specs import ControlImageKind
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.conditioning.controlnet import (
    ControlNetConditioning,
    RequestedControl,
    as_tuple,
    check_kind,
    control_latents,
    controlled_samples,
    kind_of_image,
    unfit,
)
from inpainting.engines.diffusion.conditioning.transformer_controlnet import move_to_device
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sampling.sample_inputs import SampleInputs

MATCHING_SETTINGS = ("dim", "n_heads", "n_kv_heads", "n_refiner_layers", "all_patch_size", "all_f_patch_size")
"""Configuration values that a ControlNet and its transformer have in common."""
SHARED = (
    *("t_scale", "t_embedder", "all_x_embedder", "cap_embedder", "rope_embedder"),
    *("noise_refiner", "context_refiner", "x_pad_token", "cap_pad_token"),
)
"""What `ZImageControlNetModel.from_transformer` takes from the transformer."""


def sees_masked_image(network: Any, transformer: Any) -> bool:
    """Whether a ControlNet takes the mask and the masked image beside the control image: versions 2.0 and 2.1."""
    return bool(network.config.control_in_dim == 2 * transformer.config.in_channels + 1)


def condition(
    network: Any, transformer: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec, label: str
) -> ControlNetConditioning:
    """Check and prepare a ControlNet, as `LatentModel.control` describes.

    The image is [1, c or 2 c + 1, 1, h, w]: the control image's latents, of 0 for the kind `inpaint` alone; 1 where the
    mask keeps; the latents of the image without its masked pixels, which are grey.
    """
    own, model = network.config, transformer.config
    inpaints = sees_masked_image(network, transformer)
    is_fit = all(as_tuple(getattr(own, name)) == as_tuple(getattr(model, name)) for name in MATCHING_SETTINGS)
    is_fit &= inpaints or own.control_in_dim == model.in_channels
    if not is_fit or max(own.control_layers_places) >= model.n_layers:
        raise unfit(control.spec, label)
    check_kind(control, inpaints=inpaints)
    inputs = SampleInputs.of(request, 0, codec.device)
    kept = codec.encode(inputs.pixels * (inputs.pixel_mask < 0.5), None, inputs.masked_key) if inpaints else None
    if kept is not None and kind_of_image(control.spec, control.use) is ControlImageKind.INPAINT:
        image = torch.zeros_like(kept)
    else:
        image = control_latents(control, request, codec)
    if kept is not None:
        image = torch.cat([image, (inputs.mask < 0.5).float(), kept], dim=1)
    return ControlNetConditioning(
        control.spec.slug,
        network,
        image[:, :, None],
        strength=control.use.strength,
        start=control.use.start,
        end=control.use.end,
        predicts_kept_part=inpaints,
    )


def block_samples(
    transformer: Any,
    rows: Sequence[Sequence[tuple[ControlNetConditioning, float]]],
    frames: torch.Tensor,
    times: torch.Tensor,
    embeds: Sequence[torch.Tensor],
) -> dict[str, Any]:
    """Return the transformer's keyword arguments with the sum of all ControlNets' outputs, each times its strength.

    rows: the ControlNets of each row with their strengths in this step. frames: [rows, c, 1, h, w]. times: [rows].
    embeds: [tokens, features] of each row. Rows without a ControlNet in this step get 0.
    """
    height, width = frames.shape[-2:]
    length = padded(height * width // PATCH_SIZE**2) + max(padded(len(row)) for row in embeds)
    totals: dict[int, torch.Tensor] = {}
    for controlled in controlled_samples([(controls, 1) for controls in rows]).values():
        network, index = controlled[0].control.network, [row for one in controlled for row in one.rows]
        scales = torch.tensor([one.strength for one in controlled], device=frames.device, dtype=frames.dtype)
        with sharing(network, transformer):
            found = network(
                [frames[row] for row in index],
                times[index],
                [embeds[row] for row in index],
                [one.control.image[0].to(frames.dtype) for one in controlled],
                conditioning_scale=scales[:, None, None],
            )
        places = torch.tensor(index, device=frames.device)
        for layer, sample in found.items():
            if layer not in totals:
                totals[layer] = sample.new_zeros(len(frames), length, sample.shape[-1])
            # A row may have one ControlNet twice, and those of a call may be shorter than others.
            totals[layer].index_add_(0, places, pad(sample, (0, 0, 0, length - sample.shape[1])))
    return {"controlnet_block_samples": totals} if totals else {}


def padded(tokens: int) -> int:
    """Return the tokens that the transformer makes of so many, of the image or of the text."""
    return -(-tokens // SEQ_MULTI_OF) * SEQ_MULTI_OF


@contextmanager
def sharing(network: Any, transformer: Any) -> Iterator[None]:
    """Give a ControlNet the transformer's first layers inside the context, as `from_transformer` does.

    Afterwards it keeps none of the model in memory, which may be evicted before it.
    """
    move_to_device(transformer)
    network.from_transformer(network, transformer)
    try:
        yield
    finally:
        for name in SHARED:
            setattr(network, name, None)
