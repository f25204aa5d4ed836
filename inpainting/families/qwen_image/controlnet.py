"""ControlNets of Qwen-Image (github.com/instantX-research): what they see, and what they add to Qwen-Image's blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

from inpainting.catalog.specs import ControlImageKind
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.conditioning.controlnet import (
    ControlNetConditioning,
    RequestedControl,
    check_kind,
    control_latents,
    controlled_samples,
    kind_of_image,
    unfit,
)
from inpainting.engines.diffusion.conditioning.transformer_controlnet import (
    MASK_CHANNELS,
    BlockSamples,
    latents_without_hole,
)
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.sampling.denoising import DenoisingState

MATCHING_SETTINGS = ("patch_size", "in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim")
"""Configuration values that a ControlNet and its transformer have in common."""


def condition(
    network: Any, transformer: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec, label: str
) -> ControlNetConditioning:
    """Check and prepare a ControlNet, as `LatentModel.control` describes.

    The image is [1, h w / 4, 4 c or 4 (c + 1)], as tokens: the latents of the control image, or those of the image with
    black masked pixels, and 1 where the mask keeps.
    """
    own, model = network.config, transformer.config
    inpaints, kind = own.extra_condition_channels > 0, kind_of_image(control.spec, control.use)
    is_fit = all(getattr(own, name) == getattr(model, name) for name in MATCHING_SETTINGS)
    if not is_fit or own.extra_condition_channels not in (0, MASK_CHANNELS):
        raise unfit(control.spec, label)
    check_kind(control, inpaints=inpaints)
    if inpaints and kind is not ControlImageKind.INPAINT:
        raise EngineFailed(
            sentence(
                "The ControlNet {slug} was trained on inpaint, and not on {kind}.", slug=control.spec.slug, kind=kind
            ),
            code="adapter_unfit",
        )
    image = latents_without_hole(request, codec) if inpaints else control_latents(control, request, codec)
    return ControlNetConditioning(
        control.spec.slug,
        network,
        pack(image),
        strength=control.use.strength,
        start=control.use.start,
        end=control.use.end,
        predicts_kept_part=inpaints,
    )


def block_samples(
    transformer: Any,
    samples: Sequence[DenoisingState],
    tokens: torch.Tensor,
    times: torch.Tensor,
    texts: tuple[torch.Tensor, torch.Tensor | None],
    shape: list[tuple[int, int, int]],
    size: int | None,
) -> list[torch.Tensor] | None:
    """Return what the ControlNets add to the transformer's blocks, each [rows, tokens, features]; None for nothing.

    It is the sum of their outputs, each times its strength. As in `QwenImageControlNetInpaintPipeline`, they see the
    prompt, and their outputs are added for the negative prompt too. tokens: [rows, tokens, channels]. times: [rows].
    texts: padded, and True where they are not padding. shape: of an image in tokens. size: samples of a call at most.
    """
    ends = list(accumulate(sample.rows for sample in samples))
    found = BlockSamples(len(tokens))
    for controlled in controlled_samples([(sample.controls, 1) for sample in samples]).values():
        network, step = controlled[0].control.network, size or len(controlled)
        for part in (controlled[first : first + step] for first in range(0, len(controlled), step)):
            numbers = [one.rows[0] for one in part]
            prompts = torch.tensor([ends[number] - 1 for number in numbers], device=tokens.device)
            scales = torch.tensor([one.strength for one in part], device=tokens.device, dtype=tokens.dtype)
            outputs = network(
                hidden_states=tokens[prompts],
                controlnet_cond=torch.cat([one.control.image for one in part]).to(tokens.dtype),
                conditioning_scale=scales[:, None, None],
                timestep=times[prompts],
                encoder_hidden_states=texts[0][prompts],
                encoder_hidden_states_mask=None if texts[1] is None else texts[1][prompts],
                img_shapes=[shape] * len(part),
                return_dict=False,
            )
            rows = [(row, at) for at, n in enumerate(numbers) for row in range(ends[n] - samples[n].rows, ends[n])]
            places, sources = torch.tensor(rows, device=tokens.device).T
            found.add(outputs, places, sources)
    return found.spread(len(transformer.transformer_blocks))
