"""FLUX.2 [klein]'s transformer in one file, as Black Forest Labs publish it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from inpainting.catalog.inspection.few_step_models import values
from inpainting.catalog.inspection.files import INDEX, ModelRefused
from inpainting.catalog.inspection.formats.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.formats.gguf_header import is_gguf
from inpainting.catalog.inspection.transformer_file import OtherComponent, TransformerFile, block_count, shape_of
from inpainting.core.sentences import sentence
from inpainting.families.flux.files import FLUX_2
from inpainting.families.flux.transformer import SCHEDULER
from inpainting.families.z_image.files import QWEN3

QWEN3_8B = "parts/qwen3-8b"
BASE_DEFAULTS = {"steps": 50, "guidance_scale": 4.0}
"""As the catalog has them for [klein] base."""


class KleinFile(TransformerFile):
    """A transformer of FLUX.2 [klein], of 4 or 9 billion numbers."""

    label: ClassVar[str] = sentence("transformer of {model}", model="FLUX.2 klein")
    mark: ClassVar[str] = FLUX_2 + "lin."
    usual_family: ClassVar[str] = "flux2-klein"
    models: ClassVar[str] = "FLUX.2 klein"
    repository: ClassVar[str] = "black-forest-labs/FLUX.2-klein-4B"
    components: ClassVar[Mapping[str, OtherComponent]] = {
        "text_encoder": replace(
            QWEN3,
            labels={**QWEN3.labels, QWEN3_8B: "Qwen3-8B"},
            roles={**QWEN3.roles, QWEN3_8B: "the text encoder of FLUX.2 [klein] 9B"},
            features="txt_in.weight",
            layers=3,
            output="lm_head.weight",
        ),
        "vae": OtherComponent(
            labels={"parts/flux2": sentence("the VAE of {model}", model="FLUX.2")},
            usual_file="flux2-vae",
            tensors=(r"\Abn\.running_mean\Z", r"\Adecoder\.conv_in\.weight\Z"),
            side=1,
            key="latent_channels",
            prefix="vae.",
        ),
    }

    def check(self, family: str = "") -> None:
        file, header = self.path.name, self.transformer
        if re.search(r"(?<![a-z])kv(?![a-z])", file.lower()):
            raise ModelRefused(
                sentence(
                    "{file} is FLUX.2 [klein] KV by its name, which attends to the source image in "
                    "another way. It is not supported.",
                    file=file,
                )
            )
        if not is_gguf(file):
            check_numbers(header, file, may_be_scaled=True)
        width, head = shape_of(header, "img_in.weight")[0], head_width(header)
        if not head or head % 4 or width % head:
            raise ModelRefused(
                sentence(
                    "{file} is no transformer of FLUX.2: its heads have a width of {head} of {width}.",
                    file=file,
                    head=head,
                    width=width,
                )
            )

    @classmethod
    def own_defaults(cls, folder: Path) -> dict[str, Any]:
        """Return those of the base models, which are not distilled."""
        return {} if values(folder / INDEX).get("is_distilled") else BASE_DEFAULTS

    def pipeline_values(self) -> dict[str, Any]:
        """Return whether it is distilled, which only the name of the file tells."""
        return {"is_distilled": "base" not in self.path.stem.lower()}

    def scheduler_configuration(self) -> Mapping[str, Any]:
        return SCHEDULER

    def transformer_configuration(self) -> dict[str, Any]:
        header = self.transformer
        (width, channels), head = shape_of(header, "img_in.weight"), head_width(header)
        return {
            "_class_name": "Flux2Transformer2DModel",
            "attention_head_dim": head,
            "axes_dims_rope": [head // 4] * 4,
            "eps": 1e-06,
            "guidance_embeds": any("guidance_in." in name for name in header),
            "in_channels": channels,
            "joint_attention_dim": shape_of(header, "txt_in.weight")[-1],
            "mlp_ratio": shape_of(header, "double_blocks.0.img_mlp.2.weight")[-1] / width,
            "num_attention_heads": width // head,
            "num_layers": block_count(header, "double_blocks"),
            "num_single_layers": block_count(header, "single_blocks"),
            "out_channels": None,
            "patch_size": 1,
            "rope_theta": 2000,
            "timestep_guidance_channels": shape_of(header, "time_in.in_layer.weight")[-1],
        }


def head_width(header: Mapping[str, Any]) -> int:
    return shape_of(header, "double_blocks.0.img_attn.norm.query_norm.scale")[-1]
