"""The transformer of FLUX.1 by the tensors of its file: its shape, and its configuration in diffusers' layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inpainting.catalog.inspection.transformer_file import block_count, shape_of

WIDTH, HEAD_WIDTH, ROPE_AXES = 3072, 128, [16, 56, 56]
"""The sizes of every published FLUX.1; diffusers' conversion of its names is written for this width."""
PLAIN_CHANNELS = 64
"""Input channels of a transformer that takes a patch of noisy latents alone."""
SCHEDULER: Mapping[str, Any] = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}
"""The published configuration of FLUX.1 [dev], as files hold weights alone."""
SCHNELL_SCHEDULER = {**SCHEDULER, "shift": 1.0, "use_dynamic_shifting": False}
"""Of FLUX.1 [schnell], whose noise levels are not shifted."""


def has_published_shape(header: Mapping[str, Any]) -> bool:
    """Whether the layers have the sizes of every published FLUX.1."""
    return shape_of(header, "img_in.weight")[0] == WIDTH and head_width(header) == HEAD_WIDTH


def input_channels(header: Mapping[str, Any]) -> int:
    return shape_of(header, "img_in.weight")[-1]


def has_guidance(header: Mapping[str, Any]) -> bool:
    """Whether the guidance scale is an input. Of the published models of PLAIN_CHANNELS [schnell] alone has none."""
    return any("guidance_in." in name for name in header)


def head_width(header: Mapping[str, Any]) -> int:
    return shape_of(header, "double_blocks.0.img_attn.norm.query_norm.scale")[-1]


def scheduler_configuration(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the published configuration of the scheduler."""
    is_schnell = input_channels(header) == PLAIN_CHANNELS and not has_guidance(header)
    return SCHNELL_SCHEDULER if is_schnell else SCHEDULER


def transformer_configuration(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return diffusers' configuration of a transformer, from the shapes of its tensors."""
    return {
        "_class_name": "FluxTransformer2DModel",
        "attention_head_dim": HEAD_WIDTH,
        "axes_dims_rope": ROPE_AXES,
        "guidance_embeds": has_guidance(header),
        "in_channels": input_channels(header),
        "joint_attention_dim": shape_of(header, "txt_in.weight")[-1],
        "num_attention_heads": WIDTH // HEAD_WIDTH,
        "num_layers": block_count(header, "double_blocks"),
        "num_single_layers": block_count(header, "single_blocks"),
        "out_channels": shape_of(header, "final_layer.linear.weight")[0],
        "patch_size": 1,
        "pooled_projection_dim": shape_of(header, "vector_in.in_layer.weight")[-1],
    }
