"""FLUX.1's transformer in one file, as Black Forest Labs publish it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from inpainting import families
from inpainting.catalog.inspection.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.component_file import component_file_class
from inpainting.catalog.inspection.diffusers_folder import diffusers_layout
from inpainting.catalog.inspection.files import ModelRefused, shell
from inpainting.catalog.inspection.gguf_header import is_gguf
from inpainting.catalog.inspection.transformer_file import OtherComponent, TransformerFile
from inpainting.families.declaration import ModelFamily
from inpainting.families.flux import transformer
from inpainting.families.flux.declaration import CONFIGURATIONS

PLAIN_CHANNELS, CONTROL_CHANNELS = 64, 128
"""Input channels of a transformer: a patch of noisy latents; or that and one of a control image."""
KONTEXT = "kontext"
MODEL_LABELS = {KONTEXT: "Kontext", "krea": "Krea", "schnell": "[schnell]", "dev": "[dev]"}
"""Word in the name of a file -> the model, one that was trained from another before that one."""
FLUX_2 = "single_stream_modulation."
"""In the names of tensors of FLUX.2, whose other names are those of FLUX.1."""
VAE = OtherComponent(
    labels={CONFIGURATIONS: "the VAE"},
    usual_file="ae",
    tensors=(r"\Adecoder\.conv_in\.weight\Z",),
    side=1,
    key="latent_channels",
    prefix="vae.",
    is_adapter=True,
)


class FluxFile(TransformerFile):
    """A transformer of FLUX.1."""

    label: ClassVar[str] = "transformer of FLUX"
    mark: ClassVar[str] = "double_blocks.0."
    usual_family: ClassVar[str] = "flux-fill"
    models: ClassVar[str] = "FLUX.1"
    repository: ClassVar[str] = "black-forest-labs/FLUX.1-Fill-dev"
    components: ClassVar[Mapping[str, OtherComponent]] = {
        "text_encoder": OtherComponent(
            labels={CONFIGURATIONS: "CLIP-L"},
            roles={CONFIGURATIONS: "a text encoder of FLUX.1"},
            usual_file="clip_l",
            tensors=(r"\Atext_model\.final_layer_norm\.weight\Z",),
            side=0,
            key="hidden_size",
            prefix="text_encoders.clip_l.transformer.",
            unused="text_encoders.clip_l.transformer.text_projection.weight",  # FLUX.1 takes the features before it
            tokenizer="tokenizer",
            features="vector_in.in_layer.weight",
        ),
        "text_encoder_2": OtherComponent(
            labels={CONFIGURATIONS: "T5-XXL"},
            roles={CONFIGURATIONS: "a text encoder of FLUX.1"},
            usual_file="t5xxl",
            tensors=(r"\Aencoder\.final_layer_norm\.weight\Z",),
            side=0,
            key="d_model",
            prefix="text_encoders.t5xxl.transformer.",
            tokenizer="tokenizer_2",
            features="txt_in.weight",
        ),
        "vae": VAE,
    }

    @classmethod
    def recognises(cls, header: Mapping[str, Any]) -> bool:
        return super().recognises(header) and not any(FLUX_2 in name for name in header)

    @property
    def family(self) -> str:
        """The family of its shape; where several models have the shape, the one that the file is named as."""
        channels, named = transformer.input_channels(self.transformer), named_model(self.path.name)
        matching = [
            known.name for known in families_of_files() if diffusers_layout(known.name).file_channels == channels
        ]
        is_told = channels != PLAIN_CHANNELS or named == KONTEXT
        return matching[0] if matching and is_told and not self._other_model() else self.usual_family

    def check(self, family: str = "") -> None:
        known, file = families.get(family or self.family), self.path.name
        channels, expected = transformer.input_channels(self.transformer), diffusers_layout(known.name).file_channels
        if other := self._other_model():
            beside = f", with {self.join_labels(self.beside)} beside it" if self.beside else ""
            supported = " and ".join(known.label for known in families_of_files())
            raise ModelRefused(f"{file} is {other}{beside}. It is not supported; {supported} are.")
        if channels != expected:
            same = [other for other in families_of_files() if diffusers_layout(other.name).file_channels == channels]
            if not family and same:
                raise ModelRefused(
                    f"{file} has the tensors of FLUX.1 [dev], Krea and Kontext, which are alike, and its name does not "
                    f"tell which it is. If it is {same[0].label}, type {shell(*self.words(same[0].name))}; the others "
                    "make images of text alone and are not supported."
                )
            hint = f" If it is {same[0].label}, add it with --family {same[0].name}." if same else ""
            raise ModelRefused(
                f"{file} is a transformer of FLUX with {channels} input channels; {known.label} has {expected}.{hint}"
            )
        if not is_gguf(file):
            check_numbers(self.transformer, file, may_be_scaled=True)
        if not transformer.has_published_shape(self.transformer):
            raise ModelRefused(f"{file} is no transformer of FLUX of the published shape.")

    def _other_model(self) -> str:
        """Return what the transformer is, where no family here has such models; "" where one may have.

        FLUX.1 [dev] and models that were trained from it (Krea) have the shapes of Kontext. Names tell them apart.
        """
        channels, named = transformer.input_channels(self.transformer), named_model(self.path.name)
        if channels == CONTROL_CHANNELS:
            return f"FLUX.1 Canny or Depth (it has {channels} input channels), which follows edges or depth"
        if channels != PLAIN_CHANNELS:
            return ""
        if not any("guidance_in." in name for name in self.transformer):
            return "FLUX.1 [schnell] or a model that was trained from it, which makes images of text alone"
        if named and named != KONTEXT:
            return f"FLUX.1 {MODEL_LABELS[named]} by its name, which makes images of text alone"
        return ""

    def scheduler_configuration(self) -> Mapping[str, Any]:
        return transformer.SCHEDULER

    def transformer_configuration(self) -> dict[str, Any]:
        return transformer.transformer_configuration(self.transformer)


def named_model(file: str) -> str:
    """Return the model of 64 input channels that a file is named as; "" for a name that tells none.

    Names of models that were trained from another one hold its name too: “flux1-dev-kontext”.
    """
    return next((name for name in MODEL_LABELS if re.search(rf"(?<![a-z]){name}(?![a-z])", file.lower())), "")


def families_of_files() -> list[ModelFamily]:
    """Return the families with models of such files."""
    return [family for family in families.registered_families() if component_file_class(family.name) is FluxFile]
