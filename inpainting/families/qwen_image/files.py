"""The transformers of Qwen-Image and Qwen-Image-Edit in one file, as ComfyUI has them, in the names of diffusers.

Both have the same tensors. The names of files tell them apart, and a mark in those of 2511.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from inpainting import families
from inpainting.catalog import configurations
from inpainting.catalog.inspection.few_step_models import STEPS
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.diffusers_folder import diffusers_layout
from inpainting.catalog.inspection.formats.tensor_slice import TensorSlice
from inpainting.catalog.inspection.transformer_file import (
    NAMED,
    OtherComponent,
    TransformerFile,
    block_count,
    noted_name,
    shape_of,
)
from inpainting.core.sentences import sentence

QWEN2_5_VL, VAE = "parts/qwen2.5-vl-7b", "parts/qwen-image"
PATCH = 2
"""The side of a patch of latents, in latents."""
LAYERED = "addition_t_embedding"
"""In the name of a tensor of Qwen-Image-Layered."""
EDIT, PROCESSOR = "qwen-image-edit", "processor"
CLEAN_IMAGES = "__index_timestep_zero__"
"""In the name of a tensor that marks files of 2511, whose transformer sees its images as free of noise."""
EDITS = rf"edit|rapid[-_ ]?aio|{CLEAN_IMAGES}"
"""Pattern of the names, in lower case, of files and tensors of Qwen-Image-Edit and of models trained from it."""
LATER_EDITS = rf"25(09|11)|plus|rapid[-_ ]?aio|{CLEAN_IMAGES}"
"""The same, of 2509 and 2511."""
FEW_STEPS = r"rapid[-_ ]?aio|lightning"
"""Pattern of the names, in lower case, of files that were merged with LoRAs for few steps."""
LIGHTNING_SHIFT = math.log(3)
"""As on the card of lightx2v/Qwen-Image-Lightning, for all sizes of images."""


class QwenImageFile(TransformerFile):
    """A transformer of Qwen-Image or Qwen-Image-Edit."""

    label: ClassVar[str] = sentence("transformer of {model}", model="Qwen-Image")
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
            labels={VAE: sentence("the VAE of {model}", model="Qwen-Image")},
            roles={VAE: "or of Wan"},
            usual_file="qwen_image_vae",
            tensors=(r"\Adecoder\.middle\.0\.residual\.0\.gamma\Z", r"\Aconv2\.weight\Z"),
            side=0,
            key="z_dim",
            prefix="vae.",
            other_names=r"(?<![a-z])wan",
        ),
    }

    @property
    def family(self) -> str:
        return EDIT if self._has(EDITS) else self.usual_family

    def check(self, family: str = "") -> None:
        file, family = self.path.name, family or self.family
        if any(LAYERED in name for name in self.transformer):
            raise ModelRefused(
                sentence("{file} is Qwen-Image-Layered, which makes images of layers. It is not supported.", file=file)
            )
        if self.family == EDIT and not self._has(LATER_EDITS):
            raise ModelRefused(
                sentence(
                    "{file} is the first Qwen-Image-Edit by its name, which reads prompts otherwise and "
                    "is not supported. The later ones have 2509 or 2511 in their names.",
                    file=file,
                )
            )
        if self.family == EDIT != family:
            raise ModelRefused(
                sentence(
                    "{file} is {label} by its name: add it with --family {family}.",
                    file=file,
                    label=families.get(EDIT).label,
                    family=EDIT,
                )
            )
        self.check_shapes(family, "img_in.weight", head_width(self.transformer), 32)

    def _has(self, pattern: str) -> bool:
        """Whether the file or one of its tensors has such a name."""
        return any(re.search(pattern, name.lower()) for name in (self.path.name, *self.transformer))

    @classmethod
    def own_defaults(cls, folder: Path) -> dict[str, Any]:
        """Return those of few steps for a file that is named so: the steps in its name, or 4, without guidance."""
        named = noted_name(folder)
        if not re.search(FEW_STEPS, named):
            return {}
        steps = re.search(STEPS, named)
        return {"steps": int(steps["steps"]) if steps else 4, "guidance_scale": 1.0}

    def write_configurations(self, folder: Path, weights: Mapping[str, Path | TensorSlice], family: str) -> None:
        super().write_configurations(folder, weights, family)
        if PROCESSOR in diffusers_layout(family).components:
            configurations.write_components(QWEN2_5_VL, folder, {PROCESSOR})

    def scheduler_configuration(self) -> Mapping[str, Any]:
        """Return the published one, or that of Qwen-Image-Lightning for a file that was merged with its LoRA."""
        is_lightning = self._has("lightning")
        return {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "base_image_seq_len": 256,
            "base_shift": LIGHTNING_SHIFT if is_lightning else 0.5,
            "max_image_seq_len": 8192,
            "max_shift": LIGHTNING_SHIFT if is_lightning else 0.9,
            "num_train_timesteps": 1000,
            "shift": 1.0,
            "shift_terminal": None if is_lightning else 0.02,
            "time_shift_type": "exponential",
            "use_dynamic_shifting": True,
        }

    def transformer_configuration(self) -> dict[str, Any]:
        header = self.transformer
        (width, channels), head = shape_of(header, "img_in.weight"), head_width(header)
        return {
            "_class_name": "QwenImageTransformer2DModel",
            NAMED: self.path.stem,
            "attention_head_dim": head,
            "axes_dims_rope": [head // 8, 7 * head // 16, 7 * head // 16],
            "guidance_embeds": False,
            "in_channels": channels,
            "joint_attention_dim": shape_of(header, "txt_in.weight")[-1],
            "num_attention_heads": width // head,
            "num_layers": block_count(header, "transformer_blocks"),
            "out_channels": shape_of(header, "proj_out.weight")[0] // PATCH**2,
            "patch_size": PATCH,
            "zero_cond_t": self._has(rf"2511|{CLEAN_IMAGES}"),
        }


def head_width(header: Mapping[str, Any]) -> int:
    return shape_of(header, "transformer_blocks.0.attn.norm_q.weight")[-1]
