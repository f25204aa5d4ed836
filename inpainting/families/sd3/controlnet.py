"""ControlNets of Stable Diffusion 3: what they see, and what they add to the blocks of its transformer.

Publishers: for 3.5 Large Stability AI (huggingface.co/stabilityai/stable-diffusion-3.5-large-controlnet-canny), for 3
InstantX (huggingface.co/InstantX/SD3-Controlnet-Depth) and alimama, whose one fills a hole
(huggingface.co/alimama-creative/SD3-Controlnet-Inpainting).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

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
    signed,
    unfit,
)
from inpainting.engines.diffusion.conditioning.transformer_controlnet import (
    BlockSamples,
    latents_without_hole,
    move_to_device,
    place_by_share,
)
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.vae_formats import scaling_factor, shift_factor
from inpainting.families.sd3.controlnet_files import NAMES, OWN_NAMES, QKV

MATCHING_SETTINGS = (
    *("patch_size", "in_channels", "attention_head_dim", "num_attention_heads", "pooled_projection_dim"),
)
"""Configuration values that a ControlNet and its transformer have in common."""
MASK_CHANNELS = 1
"""Further channels of the control image's latents where a ControlNet takes the mask too."""


class SD3ControlNetModel(diffusers.SD3ControlNetModel):  # type: ignore[misc]  # diffusers ships no types
    """diffusers' network, which may be read from one file in the names of its publisher."""

    @classmethod
    def from_single_file(cls, path: str, *, config: str, torch_dtype: torch.dtype, **others: Any) -> Any:
        """Return the network of a file. config: the folder of its configuration. Raises RuntimeError for other tensors.

        others: arguments of diffusers' method that have no effect here, as no file is fetched.
        """
        with torch.device("meta"):
            network = cls.from_config(cls.load_config(config, local_files_only=True))
        tensors = {name: tensor.to(torch_dtype) for name, tensor in load_file(Path(path)).items()}
        network.load_state_dict(named_as_in_diffusers(tensors), assign=True)
        return network


def named_as_in_diffusers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a ControlNet by the names of diffusers, which they may have already."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name in OWN_NAMES:
            continue
        layer, _, kind = name.rpartition(".")
        block, _, own = layer.partition(".attn.") if layer.endswith(QKV) else ("", "", "")
        if own:
            found |= {f"{block}.attn.to_{way}.{kind}": part for way, part in zip("qkv", tensor.chunk(3), strict=True)}
            continue
        for theirs, ours in NAMES.items():
            if layer.startswith("transformer_blocks.") and layer.endswith(theirs):
                layer = layer.removesuffix(theirs) + ours
                break
        found[f"{layer}.{kind}"] = tensor
    return found


def condition(
    network: Any, transformer: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec, label: str
) -> ControlNetConditioning:
    """Check and prepare a ControlNet, as `LatentModel.control` describes.

    The image is [1, c or c + 1, h, w]: the latents of the control image, or those of the image with black masked pixels
    and 1 where the mask keeps.
    """
    own, model = network.config, transformer.config
    inpaints, kind = own.extra_conditioning_channels > 0, kind_of_image(control.spec, control.use)
    is_fit = all(getattr(own, name) == getattr(model, name) for name in MATCHING_SETTINGS)
    is_fit &= own.joint_attention_dim in (None, model.joint_attention_dim)
    if not is_fit or own.extra_conditioning_channels not in (0, MASK_CHANNELS):
        raise unfit(control.spec, label)
    check_kind(control, inpaints=inpaints)
    if inpaints and kind is not ControlImageKind.INPAINT:
        raise EngineFailed(
            sentence(
                "The ControlNet {slug} was trained on inpaint, and not on {kind}.", slug=control.spec.slug, kind=kind
            ),
            code="adapter_unfit",
        )
    if inpaints:
        image = latents_without_hole(request, codec)
    else:
        image = control_latents(control, request, codec, normalise_for(network, kind))
        if own.force_zeros_for_pooled_projection:  # InstantX's were trained on latents that are not shifted
            image = image + shift_factor(codec.vae.config) * scaling_factor(codec.vae.config)
    return ControlNetConditioning(
        control.spec.slug,
        network,
        image,
        strength=control.use.strength,
        start=control.use.start,
        end=control.use.end,
        predicts_kept_part=inpaints,
    )


def normalise_for(network: Any, kind: ControlImageKind) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the function that makes of a control image, 0 to 1, what the ControlNet was trained on.

    Those of Stability AI, which read no text, see edges as `sd3_infer.py` scales them (github.com/Stability-AI/sd3.5),
    and depth by DepthFM, in which what is near is dark; depth maps are bright there in this program, as in ComfyUI,
    which inverts them for these ControlNets too (`comfy/controlnet.py`).
    """
    if network.config.joint_attention_dim is not None:
        return signed
    if kind is ControlImageKind.CANNY:
        return lambda pixels: pixels * np.float32(255 * 0.5) + np.float32(0.5)
    return (lambda pixels: signed(1 - pixels)) if kind is ControlImageKind.DEPTH else signed


def block_samples(
    transformer: Any,
    rows: Sequence[Sequence[tuple[ControlNetConditioning, float]]],
    latents: torch.Tensor,
    times: torch.Tensor,
    embeds: torch.Tensor,
    pooled: torch.Tensor,
) -> list[torch.Tensor] | None:
    """Return what the ControlNets add to the transformer's blocks, each [rows, tokens, features]; None for nothing.

    It is the sum of their outputs, each times its strength. rows: the ControlNets of each row with their strengths in
    this step. latents: [rows, c, h, w]. times: [rows]. embeds: [rows, tokens, features]. pooled: [rows, features].
    """
    found = BlockSamples(len(latents))
    for controlled in controlled_samples([(controls, 1) for controls in rows]).values():
        network = controlled[0].control.network
        places = torch.tensor([one.rows[0] for one in controlled], device=latents.device)
        scales = torch.tensor([one.strength for one in controlled], device=latents.device, dtype=latents.dtype)
        given, words = latents[places], pooled[places]
        if not network.config.use_pos_embed:  # it sees the latents as the transformer embeds them
            move_to_device(transformer)
            given = transformer.pos_embed(given)
        (outputs,) = network(
            hidden_states=given,
            controlnet_cond=torch.cat([one.control.image for one in controlled]).to(latents.dtype),
            conditioning_scale=scales[:, None, None],
            encoder_hidden_states=None if network.config.joint_attention_dim is None else embeds[places],
            pooled_projections=torch.zeros_like(words) if network.config.force_zeros_for_pooled_projection else words,
            timestep=times[places],
            return_dict=False,
        )
        found.add(outputs, places)
    return found.spread(len(transformer.transformer_blocks), place_by_share)
