"""Chroma's transformer in one file, in the names of its publisher's code, as ComfyUI has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.formats.gguf_header import is_gguf
from inpainting.catalog.inspection.transformer_file import OtherComponent, TransformerFile, block_count, shape_of
from inpainting.core.sentences import sentence
from inpainting.families.chroma.declaration import T5_ALONE
from inpainting.families.flux import transformer
from inpainting.families.flux.declaration import CONFIGURATIONS
from inpainting.families.flux.files import CHROMA, T5, VAE


class ChromaFile(TransformerFile):
    """A transformer of Chroma: FLUX.1's without modulations and CLIP, and a network in their place."""

    label: ClassVar[str] = sentence("transformer of {model}", model="Chroma")
    mark: ClassVar[str] = f"{CHROMA}layers.0.in_layer."
    usual_family: ClassVar[str] = "chroma"
    models: ClassVar[str] = "Chroma"
    repository: ClassVar[str] = "lodestones/Chroma1-HD"
    components: ClassVar[Mapping[str, OtherComponent]] = {
        "text_encoder": replace(
            T5,
            labels={T5_ALONE: T5.labels[CONFIGURATIONS]},
            roles={T5_ALONE: T5.roles[CONFIGURATIONS]},
            tokenizer="tokenizer",
        ),
        "vae": VAE,
    }

    def check(self, family: str = "") -> None:
        file, channels = self.path.name, transformer.input_channels(self.transformer)
        if channels != transformer.PLAIN_CHANNELS or not transformer.has_published_shape(self.transformer):
            raise ModelRefused(
                sentence(
                    "{file} is no transformer of Chroma of the published shape; Chroma1-Radiance, which "
                    "has no VAE, is not supported.",
                    file=file,
                )
            )
        if not is_gguf(file):
            check_numbers(self.transformer, file, may_be_scaled=True)

    def scheduler_configuration(self) -> Mapping[str, Any]:
        """Return that of FLUX.1 [dev], as diffusers' documentation takes it for one file."""
        return transformer.SCHEDULER

    def transformer_configuration(self) -> dict[str, Any]:
        hidden, channels = shape_of(self.transformer, "distilled_guidance_layer.in_proj.weight")
        of_flux_1 = transformer.transformer_configuration(self.transformer)
        del of_flux_1["guidance_embeds"], of_flux_1["pooled_projection_dim"]
        return {
            **of_flux_1,
            "_class_name": "ChromaTransformer2DModel",
            "approximator_hidden_dim": hidden,
            "approximator_layers": block_count(self.transformer, "layers"),
            "approximator_num_channels": channels,
        }
