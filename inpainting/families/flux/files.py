"""FLUX.1's transformer in one file, as Black Forest Labs publish it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from inpainting import families
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.formats.component_file import families_of_component_file
from inpainting.catalog.inspection.formats.diffusers_folder import diffusers_layout
from inpainting.catalog.inspection.formats.gguf_header import is_gguf
from inpainting.catalog.inspection.transformer_file import OtherComponent, TransformerFile
from inpainting.core.sentences import any_of, every, paragraph, sentence
from inpainting.families.declaration import ModelFamily
from inpainting.families.flux import transformer
from inpainting.families.flux.declaration import CONFIGURATIONS
from inpainting.families.flux.transformer import PLAIN_CHANNELS, has_guidance, input_channels

CONTROL_CHANNELS = 2 * PLAIN_CHANNELS
"""Input channels of a transformer that takes a patch of noisy latents and one of a control image."""
PLAIN_FAMILY = "flux-dev"
"""The family of a transformer that takes noisy latents alone, where neither it nor its name tells another."""
MODELS = {
    "kontext": ("FLUX.1 Kontext", "flux-kontext"),
    "krea": ("FLUX.1 Krea", PLAIN_FAMILY),
    "schnell": ("FLUX.1 [schnell]", PLAIN_FAMILY),
    "dev": ("FLUX.1 [dev]", PLAIN_FAMILY),
}
"""Word in the name of a file of PLAIN_CHANNELS -> the model, one that was trained from another before that one, and its
family."""
FLUX_2, CHROMA = "single_stream_modulation.", "distilled_guidance_layer."
"""In the names of tensors of FLUX.2 and of Chroma, whose other names are those of FLUX.1."""
VAE = OtherComponent(
    labels={CONFIGURATIONS: sentence("the VAE")},
    usual_file="ae",
    tensors=(r"\Adecoder\.conv_in\.weight\Z",),
    side=1,
    key="latent_channels",
    prefix="vae.",
    other_names=r"sd3",  # that of Stable Diffusion 3 has the same tensors
    is_adapter=True,
)
CLIP_L = OtherComponent(
    labels={CONFIGURATIONS: "CLIP-L"},
    roles={CONFIGURATIONS: "a text encoder of FLUX.1 and Stable Diffusion 3"},
    usual_file="clip_l",
    tensors=(r"\Atext_model\.final_layer_norm\.weight\Z",),
    side=0,
    key="hidden_size",
    prefix="text_encoders.clip_l.transformer.",
    ignored="text_encoders.clip_l.transformer.text_projection.weight",  # FLUX.1 takes the features before it
    tokenizer="tokenizer",
    features="vector_in.in_layer.weight",
)
T5 = OtherComponent(
    labels={CONFIGURATIONS: "T5-XXL"},
    roles={CONFIGURATIONS: "the text encoder of Chroma and one of FLUX.1 and Stable Diffusion 3"},
    usual_file="t5xxl",
    tensors=(r"\Aencoder\.final_layer_norm\.weight\Z",),
    side=0,
    key="d_model",
    prefix="text_encoders.t5xxl.transformer.",
    tokenizer="tokenizer_2",
    features="txt_in.weight",
)


class FluxFile(TransformerFile):
    """A transformer of FLUX.1."""

    label: ClassVar[str] = sentence("transformer of {model}", model="FLUX")
    mark: ClassVar[str] = "double_blocks.0."
    usual_family: ClassVar[str] = "flux-fill"
    models: ClassVar[str] = "FLUX.1"
    repository: ClassVar[str] = "black-forest-labs/FLUX.1-Fill-dev"
    components: ClassVar[Mapping[str, OtherComponent]] = {
        "text_encoder": CLIP_L,
        "text_encoder_2": T5,
        "vae": VAE,
    }

    @classmethod
    def recognises(cls, header: Mapping[str, Any]) -> bool:
        return super().recognises(header) and not any(mark in name for name in header for mark in (FLUX_2, CHROMA))

    @property
    def family(self) -> str:
        """The family of its shape; where several have the shape, the one that the file is named as."""
        channels = input_channels(self.transformer)
        if channels == PLAIN_CHANNELS:
            _, told = self._told()
            return told or PLAIN_FAMILY
        matching = [known.name for known in families_of_files() if file_channels(known) == channels]
        return matching[0] if matching else self.usual_family

    def check(self, family: str = "") -> None:
        known, file = families.get(family or self.family), self.path.name
        channels, expected = input_channels(self.transformer), file_channels(known)
        if channels == CONTROL_CHANNELS:
            about = {"file": file, "channels": channels, "supported": every(one.label for one in families_of_files())}
            if self.beside:
                raise ModelRefused(
                    sentence(
                        "{file} is FLUX.1 Canny or Depth (it has {channels} input channels), which follows edges or "
                        "depth, with {parts} beside it. It is not supported; {supported} are.",
                        **about,
                        parts=self.join_labels(self.beside),
                    )
                )
            raise ModelRefused(
                sentence(
                    "{file} is FLUX.1 Canny or Depth (it has {channels} input channels), which follows edges or depth. "
                    "It is not supported; {supported} are.",
                    **about,
                )
            )
        if channels != expected:
            same = [other for other in families_of_files() if file_channels(other) == channels]
            reason = sentence(
                "{file} is a transformer of FLUX with {channels} input channels; {label} has {expected}.",
                file=file,
                channels=channels,
                label=known.label,
                expected=expected,
            )
            choices = [
                sentence("--family {family} if it is {label}", family=other.name, label=other.label) for other in same
            ]
            hint = sentence("Add it with {choices}.", choices=any_of(choices)) if choices else ""
            raise ModelRefused(paragraph([reason, hint]))
        model, told = self._told()
        if told not in ("", known.name):
            raise ModelRefused(
                sentence(
                    "{file} is {model}, not {label}: add it with --family {other}.",
                    file=file,
                    model=model,
                    label=known.label,
                    other=told,
                )
            )
        if not is_gguf(file):
            check_numbers(self.transformer, file, may_be_scaled=True)
        if not transformer.has_published_shape(self.transformer):
            raise ModelRefused(sentence("{file} is no transformer of FLUX of the published shape.", file=file))

    def _told(self) -> tuple[str, str]:
        """Return which model a transformer of PLAIN_CHANNELS is, in a sentence, and its family; "" where nothing tells.

        FLUX.1 [dev] and models that were trained from it (Krea) have the tensors of Kontext. Names tell them apart.
        """
        if input_channels(self.transformer) != PLAIN_CHANNELS:
            return "", ""
        if not has_guidance(self.transformer):
            return sentence("{model} or a model that was trained from it", model="FLUX.1 [schnell]"), PLAIN_FAMILY
        model, family = named_model(self.path.name)
        return (sentence("{model} by its name", model=model), family) if model else ("", "")

    def scheduler_configuration(self) -> Mapping[str, Any]:
        return transformer.scheduler_configuration(self.transformer)

    def transformer_configuration(self) -> dict[str, Any]:
        return transformer.transformer_configuration(self.transformer)


def named_model(file: str) -> tuple[str, str]:
    """Return which model of PLAIN_CHANNELS a file is named as, and its family; "" for a name that tells none.

    Names of models that were trained from another one hold its name too: “flux1-dev-kontext”.
    """
    found = (MODELS[word] for word in MODELS if re.search(rf"(?<![a-z]){word}(?![a-z])", file.lower()))
    return next(found, ("", ""))


def families_of_files() -> list[ModelFamily]:
    """Return the families with models of such files."""
    return [families.get(name) for name in families_of_component_file(FluxFile)]


def file_channels(family: ModelFamily) -> int:
    """Return the input channels of a family's transformer."""
    return diffusers_layout(family.name).file_channels
