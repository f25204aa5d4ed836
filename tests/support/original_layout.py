"""Writes a tiny pipeline as one file with the tensor names of the original Stable Diffusion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import CLIPTextModelWithProjection

from tests.support import tiny_models

UNET, VAE = "model.diffusion_model.", "first_stage_model."
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.": "ln_final.",
    "encoder.layers.": "transformer.resblocks.",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    ".fc1.": ".c_fc.",
    ".fc2.": ".c_proj.",
    "self_attn": "attn",
}
OPEN_CLIP_WIDTH = 48
"""Differs from the width of the first text encoder: diffusers distinguishes the two of SDXL by it."""


def sdxl(scratch: Path, **more: Any) -> Any:
    """`tiny_models.sdxl` with a second text encoder of another width, as in published models."""
    pipeline = tiny_models.sdxl(scratch, **more)
    words = len(pipeline.tokenizer)
    config = tiny_models.text_config(words, hidden_act="gelu", projection_dim=OPEN_CLIP_WIDTH)
    config.hidden_size = OPEN_CLIP_WIDTH
    config.num_hidden_layers = 2
    pipeline.register_modules(
        text_encoder_2=CLIPTextModelWithProjection(config).eval(),
        unet=type(pipeline.unet)
        .from_config(
            pipeline.unet.config,
            cross_attention_dim=tiny_models.FEATURES + OPEN_CLIP_WIDTH,
            projection_class_embeddings_input_dim=6 * 8 + OPEN_CLIP_WIDTH,
        )
        .eval(),
    )
    return pipeline


def saved(pipeline: Any, path: Path, **more: torch.Tensor) -> Path:
    """Write the pipeline as one checkpoint; `more` are further tensors."""
    tensors = {**unet(pipeline.unet), **vae(pipeline.vae), **more}
    if getattr(pipeline, "text_encoder_2", None) is None:
        tensors |= clip(pipeline.text_encoder, "cond_stage_model.transformer.text_model.")
    else:
        tensors |= clip(pipeline.text_encoder, "conditioner.embedders.0.transformer.text_model.")
        tensors |= open_clip(pipeline.text_encoder_2, "conditioner.embedders.1.model.")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return path


def unet(network: Any) -> dict[str, torch.Tensor]:
    per_block = network.config.layers_per_block + 1
    return {UNET + unet_name(name, per_block): tensor for name, tensor in network.state_dict().items()}


def unet_name(name: str, per_block: int) -> str:
    """per_block: the number of blocks in the original layout for one block of diffusers."""
    for ours, theirs in UNET_ENDS.items():
        if name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, number, rest = found.groups()
        place = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{place}.{part(kind, rest)}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name)
    assert found, name
    way, block, kind, number, rest = found.groups()
    first = int(block) * per_block
    if kind == "downsamplers":
        return f"input_blocks.{first + per_block}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        # After the attention layer if the block has one; in the tiny UNets the first block does.
        return f"output_blocks.{first + per_block - 1}.{2 if block == '0' else 1}.{rest}"
    start = f"input_blocks.{first + int(number) + 1}" if way == "down" else f"output_blocks.{first + int(number)}"
    return f"{start}.{1 if kind == 'attentions' else 0}.{part(kind, rest)}"


def part(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    layer, _, what = rest.rpartition(".")
    return f"{RESNET[layer]}.{what}"


def vae(network: Any) -> dict[str, torch.Tensor]:
    blocks = len(network.config.block_out_channels)
    return dict(vae_tensors(network.state_dict(), blocks))


def vae_tensors(state: dict[str, torch.Tensor], blocks: int) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in state.items():
        place = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if found := re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.*)\.(weight|bias)", place):
            side, layer, what = found.groups()
            is_matrix = tensor.ndim == 2  # a 1x1 convolution in the original
            yield (
                f"{VAE}{side}mid.attn_1.{VAE_ATTENTION[layer]}.{what}",
                tensor[:, :, None, None] if is_matrix else tensor,
            )
            continue
        place = re.sub(r"mid_block\.resnets\.(\d)", lambda at: f"mid.block_{int(at[1]) + 1}", place)
        place = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", place)
        place = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", place)
        place = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda at: f"up.{blocks - 1 - int(at[1])}.block.", place)
        place = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda at: f"up.{blocks - 1 - int(at[1])}.upsample.", place)
        yield VAE + place, tensor


def clip(encoder: Any, start: str) -> dict[str, torch.Tensor]:
    return {start + name.removeprefix("text_model."): tensor for name, tensor in encoder.state_dict().items()}


def open_clip(encoder: Any, start: str) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in encoder.state_dict().items():
        if name == "text_projection.weight":
            tensors[f"{start}text_projection"] = tensor.T
            continue
        place = name.removeprefix("text_model.")
        for ours, theirs in OPEN_CLIP.items():
            place = place.replace(ours, theirs)
        place = place.replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj")
        if found := re.fullmatch(r"(.*\.attn)\.([qkv])_proj\.(weight|bias)", place):
            attention, letter, what = found.groups()
            joined.setdefault(f"{start}{attention}.in_proj_{what}", {})[letter] = tensor
        else:
            tensors[start + place] = tensor
    return tensors | {name: torch.cat([parts[letter] for letter in "qkv"]) for name, parts in joined.items()}
