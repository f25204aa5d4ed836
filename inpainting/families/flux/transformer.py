"""The transformer of FLUX.1 by the tensors of its file: its shape, and its configurations in diffusers' layout.

A file holds weights alone. The configurations of pipeline and scheduler are the published ones of FLUX.1 [dev], or of
FLUX.1 [schnell].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inpainting.catalog.inspection.diffusers_folder import diffusers_layout
from inpainting.catalog.inspection.files import CONFIG, INDEX

TRANSFORMER = "transformer"
WIDTH, HEAD_WIDTH, ROPE_AXES = 3072, 128, [16, 56, 56]
"""The sizes of every published FLUX.1; diffusers' conversion of its names is written for this width."""
PLAIN_CHANNELS = 64
"""Input channels of a transformer that takes a patch of noisy latents alone."""
SCHEDULER_CONFIG = "scheduler/scheduler_config.json"
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}
SCHNELL_SCHEDULER = {**SCHEDULER, "shift": 1.0, "use_dynamic_shifting": False}
"""Of FLUX.1 [schnell], whose noise levels are not shifted."""
COMPONENTS = {
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""The other components of the pipeline, which a model_index.json names."""
PIPELINE = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    TRANSFORMER: ["diffusers", "FluxTransformer2DModel"],
    **COMPONENTS,
}


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


def shape_of(header: Mapping[str, Any], end: str) -> list[int]:
    """Return the shape of the tensor whose name ends so; [0] where there is none."""
    return next((tensor["shape"] for name, tensor in header.items() if name.endswith(end)), [0]) or [0]


def block_count(header: Mapping[str, Any], blocks: str) -> int:
    found = (re.search(rf"(?:\A|\.){blocks}\.(\d+)\.", name) for name in header)
    return len({match[1] for match in found if match})


def configuration_files(header: Mapping[str, Any], family: str) -> dict[str, dict[str, Any]]:
    """Return the configurations of pipeline, scheduler and transformer, by name in diffusers' layout."""
    is_schnell = input_channels(header) == PLAIN_CHANNELS and not has_guidance(header)
    return {
        INDEX: {"_class_name": diffusers_layout(family).pipelines[0], **PIPELINE},
        SCHEDULER_CONFIG: SCHNELL_SCHEDULER if is_schnell else SCHEDULER,
        f"{TRANSFORMER}/{CONFIG}": transformer_configuration(header),
    }


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
