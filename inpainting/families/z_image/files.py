"""Z-Image's transformer in one file, in the names of its publisher's code, as ComfyUI has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from inpainting.catalog.inspection.few_step_models import values
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.transformer_file import (
    SCHEDULER_CONFIG,
    OtherComponent,
    TransformerFile,
    block_count,
    shape_of,
)
from inpainting.core.sentences import sentence
from inpainting.families.flux.files import VAE

QWEN3_4B = "parts/qwen3-4b"
QWEN3 = OtherComponent(
    labels={QWEN3_4B: "Qwen3-4B"},
    roles={QWEN3_4B: "the text encoder of Z-Image and FLUX.2 [klein] 4B"},
    usual_file="qwen_3_4b",
    tensors=(r"\A(model\.)?layers\.0\.self_attn\.q_norm\.weight\Z", r"\A(model\.)?embed_tokens\.weight\Z"),
    side=1,
    key="hidden_size",
    prefix="text_encoders.qwen3_4b.transformer.",
    tokenizer="tokenizer",
    features="cap_embedder.1.weight",
)
BASE_SHIFT = 6.0
"""Of the noise levels of Z-Image itself, as in its repository."""
BASE_DEFAULTS = {"steps": 50, "guidance_scale": 5.0}
"""As the catalog has them for Z-Image itself."""
PATCH = 2
"""The side of a patch of latents, in latents."""


class ZImageFile(TransformerFile):
    """A transformer of Z-Image."""

    label: ClassVar[str] = sentence("transformer of {model}", model="Z-Image")
    mark: ClassVar[str] = "noise_refiner.0.attention.qkv."
    usual_family: ClassVar[str] = "z-image"
    models: ClassVar[str] = "Z-Image"
    repository: ClassVar[str] = "Tongyi-MAI/Z-Image-Turbo"
    components: ClassVar[Mapping[str, OtherComponent]] = {"text_encoder": QWEN3, "vae": VAE}

    @property
    def is_turbo(self) -> bool:
        """Whether it is distilled to few steps, as most files are. Only the name of the file tells."""
        return "base" not in self.path.stem.lower() and self.path.stem.lower() not in UNDISTILLED

    @classmethod
    def own_defaults(cls, folder: Path) -> dict[str, Any]:
        """Return those of Z-Image itself, which its noise levels tell from Turbo."""
        return BASE_DEFAULTS if values(folder / SCHEDULER_CONFIG).get("shift") == BASE_SHIFT else {}

    def scheduler_configuration(self) -> Mapping[str, Any]:
        return {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0 if self.is_turbo else BASE_SHIFT,
            "use_dynamic_shifting": False,
        }

    def check(self, family: str = "") -> None:
        file, header = self.path.name, self.transformer
        if any("siglip_" in name for name in header):
            raise ModelRefused(
                sentence("{file} is Z-Image-Omni, which takes images as input too. It is not supported.", file=file)
            )
        self.check_shapes(family, "x_embedder.weight", head_width(header), 8)

    def transformer_configuration(self) -> dict[str, Any]:
        header = self.transformer
        (width, channels), head = shape_of(header, "x_embedder.weight"), head_width(header)
        projections = shape_of(header, "layers.0.attention.qkv.weight")[0] // head  # of queries, keys and values
        return {
            "_class_name": "ZImageTransformer2DModel",
            "all_f_patch_size": [1],
            "all_patch_size": [PATCH],
            "axes_dims": [head // 4, 3 * head // 8, 3 * head // 8],
            "axes_lens": [1536, 512, 512],
            "cap_feat_dim": shape_of(header, "cap_embedder.1.weight")[-1],
            "dim": width,
            "in_channels": channels // PATCH**2,
            "n_heads": width // head,
            "n_kv_heads": (projections - width // head) // 2,
            "n_layers": block_count(header, "layers"),
            "n_refiner_layers": block_count(header, "noise_refiner"),
            "norm_eps": 1e-05,
            "qk_norm": True,
            "rope_theta": 256.0,
            "t_scale": 1000.0,
        }


UNDISTILLED = ("z_image", "z-image", "z_image_bf16", "z_image_fp8_scaled")
"""The names, in lower case, of the published files of Z-Image itself."""


def head_width(header: Mapping[str, Any]) -> int:
    return shape_of(header, "layers.0.attention.q_norm.weight")[-1]
