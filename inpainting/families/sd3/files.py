"""The transformer of Stable Diffusion 3 in one file, in the names of its publisher's code, as ComfyUI has it.

The published files of 3.5 hold the VAE too, and some both CLIPs and T5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from inpainting.catalog.inspection.transformer_file import (
    NAMED,
    OtherComponent,
    TransformerFile,
    block_count,
    noted_name,
    shape_of,
)
from inpainting.core.sentences import sentence
from inpainting.families.flux.declaration import CONFIGURATIONS
from inpainting.families.flux.files import CLIP_L, T5, VAE

PARTS = "parts/sd3"
"""The name in `catalog.configurations` of those that a transformer lacks."""
HEAD_WIDTH, PATCH = 64, 2
"""Of every published model; the side of a patch in latents."""


class Sd3File(TransformerFile):
    """A transformer of Stable Diffusion 3."""

    label: ClassVar[str] = sentence("transformer of {model}", model="Stable Diffusion 3")
    mark: ClassVar[str] = "joint_blocks.0.x_block."
    usual_family: ClassVar[str] = "sd3"
    models: ClassVar[str] = "Stable Diffusion 3"
    repository: ClassVar[str] = "stabilityai/stable-diffusion-3.5-large"
    components: ClassVar[Mapping[str, OtherComponent]] = {
        "text_encoder": replace(
            CLIP_L,
            labels={PARTS: CLIP_L.labels[CONFIGURATIONS]},
            roles={PARTS: CLIP_L.roles[CONFIGURATIONS]},
            ignored="",
            features="",
        ),
        "text_encoder_2": OtherComponent(
            labels={PARTS: "CLIP-G"},
            roles={PARTS: "a text encoder of Stable Diffusion 3"},
            usual_file="clip_g",
            tensors=CLIP_L.tensors,
            side=0,
            key="hidden_size",
            prefix="text_encoders.clip_g.transformer.",
            tokenizer="tokenizer_2",
        ),
        "text_encoder_3": replace(
            T5,
            labels={PARTS: T5.labels[CONFIGURATIONS]},
            roles={PARTS: T5.roles[CONFIGURATIONS]},
            tokenizer="tokenizer_3",
            features="context_embedder.weight",
        ),
        "vae": replace(
            VAE,
            labels={PARTS: sentence("the VAE of {model}", model="Stable Diffusion 3")},
            usual_file="sd3_vae",
            prefix="first_stage_model.",
            other_names=r"\A(?!.*sd3)",  # FLUX.1's has the same tensors
        ),
    }

    def check(self, family: str = "") -> None:
        self.check_shapes(family, "x_embedder.proj.weight", HEAD_WIDTH, 8)

    @classmethod
    def own_defaults(cls, folder: Path) -> dict[str, Any]:
        """Return those of Large Turbo for a file that is named so; the others take the family's."""
        return {"steps": 4, "guidance_scale": 1.0} if "turbo" in noted_name(folder) else {}

    def scheduler_configuration(self) -> Mapping[str, Any]:
        return {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}

    def transformer_configuration(self) -> dict[str, Any]:
        header = self.transformer
        width, channels, *_ = shape_of(header, "x_embedder.proj.weight")
        projected, features = shape_of(header, "context_embedder.weight")
        layers = block_count(header, "joint_blocks")
        has_norms = any(name.endswith("attn.ln_q.weight") for name in header)
        return {
            "_class_name": "SD3Transformer2DModel",
            NAMED: self.path.stem,
            "attention_head_dim": HEAD_WIDTH,
            "caption_projection_dim": projected,
            "dual_attention_layers": [
                layer
                for layer in range(layers)
                if any(f"joint_blocks.{layer}.x_block.attn2." in name for name in header)
            ],
            "in_channels": channels,
            "joint_attention_dim": features,
            "num_attention_heads": width // HEAD_WIDTH,
            "num_layers": layers,
            "out_channels": shape_of(header, "final_layer.linear.weight")[0] // PATCH**2,
            "patch_size": PATCH,
            "pooled_projection_dim": shape_of(header, "y_embedder.mlp.0.weight")[-1],
            "pos_embed_max_size": math.isqrt(shape_of(header, "pos_embed")[1]),
            "qk_norm": "rms_norm" if has_norms else None,
            "sample_size": 128,
        }
