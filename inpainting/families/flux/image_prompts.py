"""FLUX.1 Redux: an image as tokens that follow those of the prompt, by SigLIP and two layers (`ReduxImageEncoder`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import transformers
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image
from safetensors.torch import load_file
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from inpainting.catalog.inspection.adapter_files import image_encoder_folder, ip_adapter_file
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.specs import ModelSpec
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.conditioning.ip_adapter import Layer, unfit
from inpainting.networks.device.hardware import Hardware
from inpainting.networks.load_lock import serialize


@dataclass(frozen=True, slots=True, eq=False)
class LoadedRedux:
    """FLUX.1 Redux in memory, a `ImagePromptEncoder` without layers of its own."""

    slug: str
    encoder: Any
    """SigLIP's image encoder."""
    projection: Any
    """Features of patches of the image -> tokens."""

    def parameters(self) -> Iterator[torch.Tensor]:
        yield from chain(self.encoder.parameters(), self.projection.parameters())

    def buffers(self) -> Iterator[torch.Tensor]:
        yield from chain(self.encoder.buffers(), self.projection.buffers())

    @torch.inference_mode()
    def encode_image(self, image: Image.Image) -> torch.Tensor:
        """Return the tokens of an image, [1, tokens, features], which is stretched to a square as in training."""
        side = self.encoder.config.image_size
        pixels = SiglipImageProcessorPil(size={"height": side, "width": side})(image, return_tensors="pt").pixel_values
        encoded = self.encoder(pixels.to(self.encoder.device, self.encoder.dtype)).last_hidden_state
        return torch.as_tensor(self.projection(encoded).image_embeds)

    def has_processors(self, network: Any) -> bool:
        return True

    def attention_processors(self, network: Any) -> list[Layer]:
        if self.projection.config.txt_in_features != network.config.joint_attention_dim:
            raise unfit(self.slug)
        return []


@serialize
def load(spec: ModelSpec, hardware: Hardware) -> LoadedRedux:
    """Load FLUX.1 Redux from its folder, which has been checked, into the device's memory.

    Raises ModelRefused for missing weights, and for an image encoder of another shape.
    """
    folder = spec.path
    if folder is None:
        raise ModelRefused(sentence("it has no files."))
    tensors = load_file(ip_adapter_file(folder))
    (features, _), (_, width) = (tensors[f"redux_{way}.weight"].shape for way in ("down", "up"))
    projection = ReduxImageEncoder(redux_dim=width, txt_in_features=features)
    projection.load_state_dict(tensors)
    encoder, loading_info = transformers.SiglipVisionModel.from_pretrained(
        image_encoder_folder(folder),
        dtype=hardware.dtype,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    if loading_info["missing_keys"]:
        raise ModelRefused(sentence("weights are missing."))
    if (seen := encoder.config.hidden_size) != width:
        raise ModelRefused(
            sentence("its image encoder gives {other} features, and its layers take {width}.", other=seen, width=width)
        )
    return LoadedRedux(
        spec.slug,
        encoder.eval().to(hardware.device),
        projection.eval().to(hardware.device, hardware.dtype),
    )
