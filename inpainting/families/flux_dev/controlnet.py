"""ControlNets of FLUX.1 [dev]: what they see, and what they add to the blocks of its transformer.

Publishers: InstantX and Shakker Labs (huggingface.co/Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0), and for the one
that fills a hole github.com/alimama-creative/FLUX-Controlnet-Inpainting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import register_to_config

from inpainting.catalog.specs import ControlImageKind
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import sentence
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
from inpainting.engines.diffusion.conditioning.transformer_controlnet import (
    MASK_CHANNELS,
    BlockSamples,
    latents_without_hole,
)
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.sampling.denoising import DenoisingState

MATCHING_SETTINGS = (
    *("in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim", "pooled_projection_dim"),
    "axes_dims_rope",
)
"""Configuration values that a ControlNet and its transformer have in common."""
MODES = {
    ControlImageKind.CANNY: 0,
    ControlImageKind.TILE: 1,
    ControlImageKind.DEPTH: 2,
    ControlImageKind.OPENPOSE: 4,
}
"""The published modes of a ControlNet-Union that has an embedding of each (InstantX/FLUX.1-dev-Controlnet-Union)."""
KINDS_WITHOUT_MODES = {
    *(ControlImageKind.CANNY, ControlImageKind.DEPTH),
    *(ControlImageKind.OPENPOSE, ControlImageKind.SOFTEDGE),
}
"""What a ControlNet-Union without such embeddings was trained on (Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0)."""


class FluxControlNetModel(diffusers.FluxControlNetModel):  # type: ignore[misc]  # diffusers ships no types
    """diffusers' network, which may take further channels with the latents of its control image."""

    @register_to_config
    def __init__(
        self,
        patch_size: int = 1,
        in_channels: int = 64,
        num_layers: int = 19,
        num_single_layers: int = 38,
        attention_head_dim: int = 128,
        num_attention_heads: int = 24,
        joint_attention_dim: int = 4096,
        pooled_projection_dim: int = 768,
        guidance_embeds: bool = False,
        axes_dims_rope: Sequence[int] = (16, 56, 56),
        num_mode: int | None = None,
        conditioning_embedding_channels: int | None = None,
        extra_condition_channels: int = 0,
    ) -> None:
        super().__init__(
            patch_size,
            in_channels,
            num_layers,
            num_single_layers,
            attention_head_dim,
            num_attention_heads,
            joint_attention_dim,
            pooled_projection_dim,
            guidance_embeds,
            axes_dims_rope,
            num_mode,
            conditioning_embedding_channels,
        )
        if extra_condition_channels:
            self.controlnet_x_embedder = torch.nn.Linear(in_channels + extra_condition_channels, self.inner_dim)


def condition(
    network: Any, transformer: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec, label: str
) -> ControlNetConditioning:
    """Check and prepare a ControlNet, as `LatentModel.control` describes.

    The image is [1, h w / 4, 4 c or 4 (c + 1)], as tokens: the latents of the control image, or those of the image with
    black masked pixels, and 1 where the mask keeps.
    """
    own, model = network.config, transformer.config
    inpaints, kind = own.extra_condition_channels > 0, kind_of_image(control.spec, control.use)
    is_fit = all(as_tuple(getattr(own, name)) == as_tuple(getattr(model, name)) for name in MATCHING_SETTINGS)
    is_fit &= own.conditioning_embedding_channels is None  # XLabs' take pixels, and add to other blocks
    if not is_fit or own.extra_condition_channels not in (0, MASK_CHANNELS):
        raise unfit(control.spec, label)
    check_kind(control, inpaints=inpaints)
    if inpaints:
        known = {ControlImageKind.INPAINT}
    elif network.union:
        known = {*MODES}
    else:
        known = KINDS_WITHOUT_MODES if control.spec.control is ControlImageKind.UNION else {kind}
    if kind not in known:
        raise EngineFailed(
            sentence("The ControlNet {slug} was not trained on {kind}.", slug=control.spec.slug, kind=kind),
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
        mode=MODES[kind] if network.union else None,
        predicts_kept_part=inpaints,
    )


def block_samples(
    transformer: Any,
    samples: Sequence[DenoisingState],
    tokens: torch.Tensor,
    times: torch.Tensor,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the transformer's keyword arguments with the sum of all ControlNets' outputs, each times its strength.

    tokens: [rows, tokens, channels], a row for each sample. times: [rows]. arguments: the transformer's others.
    """
    double, single = BlockSamples(len(tokens)), BlockSamples(len(tokens))
    calls = controlled_samples([(sample.controls, 1) for sample in samples])
    for (_, mode), controlled in calls.items():
        network, rows = controlled[0].control.network, [one.rows[0] for one in controlled]
        places = torch.tensor(rows, device=tokens.device)
        scales = torch.tensor([one.strength for one in controlled], device=tokens.device, dtype=tokens.dtype)
        guidance = torch.tensor([samples[row].guidance for row in rows], device=tokens.device)
        outputs = network(
            hidden_states=tokens[places],
            controlnet_cond=torch.cat([one.control.image for one in controlled]).to(tokens.dtype),
            controlnet_mode=None if mode is None else torch.full((len(rows), 1), mode, device=tokens.device),
            conditioning_scale=scales[:, None, None],
            timestep=times[places],
            guidance=guidance if network.config.guidance_embeds else None,
            pooled_projections=arguments["pooled_projections"][places],
            encoder_hidden_states=arguments["encoder_hidden_states"][places],
            txt_ids=arguments["txt_ids"],
            img_ids=arguments["img_ids"],
            return_dict=False,
        )
        for found, output in zip((double, single), outputs, strict=True):
            if output is not None:
                found.add(output, places)
    return {
        "controlnet_block_samples": double.spread(len(transformer.transformer_blocks)),
        "controlnet_single_block_samples": single.spread(len(transformer.single_transformer_blocks)),
    }
