"""Qwen-Image's transformer in one file, as ComfyUI has it: its tensors have the names of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.transformer_file import OtherComponent, TransformerFile, block_count, shape_of

QWEN2_5_VL, VAE = "parts/qwen2.5-vl-7b", "parts/qwen-image"
PATCH = 2
"""The side of a patch of latents, in latents."""
LAYERED = "addition_t_embedding"
"""In the name of a tensor of Qwen-Image-Layered."""
EDITS = r"edit|rapid[-_ ]?aio|__index_timestep_zero__"
"""Pattern of the names, in lower case, of files and tensors of Qwen-Image-Edit and of models trained from it."""


class QwenImageFile(TransformerFile):
    """A transformer of Qwen-Image."""

    label: ClassVar[str] = "transformer of Qwen-Image"
    mark: ClassVar[str] = "transformer_blocks.0.img_mod."
    usual_family: ClassVar[str] = "qwen-image"
    models: ClassVar[str] = "Qwen-Image"
    repository: ClassVar[str] = "Qwen/Qwen-Image"
    components: ClassVar[Mapping[str, OtherComponent]] = {
        "text_encoder": OtherComponent(
            labels={QWEN2_5_VL: "Qwen2.5-VL-7B"},
            roles={QWEN2_5_VL: "the text encoder of Qwen-Image"},
            usual_file="qwen_2.5_vl_7b",
            tensors=(r"\A(model\.)?visual\.", r"\A(model\.)?(language_model\.)?embed_tokens\.weight\Z"),
            side=1,
            key="hidden_size",
            prefix="text_encoders.qwen25_7b.transformer.",
            tokenizer="tokenizer",
            features="txt_in.weight",
            output="lm_head.weight",
        ),
        "vae": OtherComponent(
            labels={VAE: "the VAE of Qwen-Image"},
            roles={VAE: "or of Wan"},
            usual_file="qwen_image_vae",
            tensors=(r"\Adecoder\.middle\.0\.residual\.0\.gamma\Z", r"\Aconv2\.weight\Z"),
            side=0,
            key="z_dim",
            prefix="vae.",
            other_names=r"(?<![a-z])wan",
        ),
    }

    def check(self, family: str = "") -> None:
        file, header = self.path.name, self.transformer
        if any(LAYERED in name for name in header):
            raise ModelRefused(f"{file} is Qwen-Image-Layered, which makes images of layers. It is not supported.")
        if any(re.search(EDITS, name.lower()) for name in (file, *header)):
            raise ModelRefused(
                f"{file} is Qwen-Image-Edit, or a model trained from it, which edits images by instructions. It is "
                "added as a folder in diffusers' layout, for the family qwen-image-edit."
            )
        self.check_shapes(family, "img_in.weight", head_width(header), 32)

    def scheduler_configuration(self) -> Mapping[str, Any]:
        return {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "base_image_seq_len": 256,
            "base_shift": 0.5,
            "max_image_seq_len": 8192,
            "max_shift": 0.9,
            "num_train_timesteps": 1000,
            "shift": 1.0,
            "shift_terminal": 0.02,
            "time_shift_type": "exponential",
            "use_dynamic_shifting": True,
        }

    def transformer_configuration(self) -> dict[str, Any]:
        header = self.transformer
        (width, channels), head = shape_of(header, "img_in.weight"), head_width(header)
        return {
            "_class_name": "QwenImageTransformer2DModel",
            "attention_head_dim": head,
            "axes_dims_rope": [head // 8, 7 * head // 16, 7 * head // 16],
            "guidance_embeds": False,
            "in_channels": channels,
            "joint_attention_dim": shape_of(header, "txt_in.weight")[-1],
            "num_attention_heads": width // head,
            "num_layers": block_count(header, "transformer_blocks"),
            "out_channels": shape_of(header, "proj_out.weight")[0] // PATCH**2,
            "patch_size": PATCH,
        }


def head_width(header: Mapping[str, Any]) -> int:
    return shape_of(header, "transformer_blocks.0.attn.norm_q.weight")[-1]
