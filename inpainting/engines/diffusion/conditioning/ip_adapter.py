"""IP-Adapters: a picture as a prompt, heard by attention layers that a model wears for the length of a step.

H. Ye et al., "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models" (2023, arXiv
2308.06721). What is computed is diffusers' own; only when it is put on and taken off is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import transformers
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
from PIL import Image
from safetensors.torch import load_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from inpainting.catalog.inspection.adapter_files import adapter_in, encoder_in
from inpainting.catalog.inspection.model_files import ModelRefused
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.hardware import Hardware, is_out_of_memory
from inpainting.engines.diffusion.serving.load_lock import serialized

LAYERS, PROJECTION = "ip_adapter.", "image_proj."
KINDS = (ImageProjection, IPAdapterPlusImageProjection)
"""How a picture becomes tokens: the plain adapters look at it as a whole, those called plus at its parts."""
MARKS = ("proj.weight", "latents")
"""Tensors by which diffusers tells how many tokens a picture becomes."""


@dataclass(frozen=True, slots=True, eq=False)
class ImagePrompt:
    """A picture as a prompt of one generation. tokens: [rows, 1, tokens, features], the unguided row first."""

    adapter: LoadedIPAdapter
    tokens: torch.Tensor
    scale: float


class RowScale:
    """How strongly each row of a batch hears its picture. Stands where diffusers multiplies by one number for all."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows  # [rows, 1, 1], in float32

    def __mul__(self, features: torch.Tensor) -> torch.Tensor:
        return (self.rows * features).to(features.dtype)


class LoadedIPAdapter:
    """An IP-Adapter in memory. Any UNet of the right shape may wear it; they share its weights.

    encoder: sees pictures. projection: what it says -> tokens. layers: weights of the attention to these, by the names
    of the file.
    """

    def __init__(
        self,
        encoder: Any,
        projection: torch.nn.Module,
        layers: dict[str, torch.Tensor],
        marks: dict[str, torch.Tensor],
        slug: str,
    ) -> None:
        self.slug = slug
        self.encoder, self.projection = encoder, projection
        self.layers, self.marks = layers, marks
        side = encoder.config.image_size
        self.image_processor = CLIPImageProcessorPil(size=side, crop_size=side)
        self._fitted: WeakKeyDictionary[Any, list[tuple[Any, IPAdapterAttnProcessor2_0]]] = WeakKeyDictionary()

    def parameters(self) -> Iterator[torch.Tensor]:
        """All its weights, as a network has them."""
        yield from self.encoder.parameters()
        yield from self.projection.parameters()
        yield from self.layers.values()

    def buffers(self) -> Iterator[torch.Tensor]:
        yield from self.encoder.buffers()

    @torch.inference_mode()
    def prompt(self, request: InpaintRequest, unet: Any, rows: int) -> ImagePrompt:
        """What a UNet hears of the request's picture. rows: 2 where there is guidance, else 1.

        Raises EngineFailed: `ip_adapter_image_missing`; `part_unfit` where the adapter is for UNets of another shape.
        """
        if request.ip_adapter_image is None:
            raise EngineFailed(
                f"The IP-Adapter {self.slug} hears a picture, and none was sent.", code="ip_adapter_image_missing"
            )
        self.fit(unet)
        scale = request.settings.ip_adapter_scale
        picture = Image.fromarray(to_rgb8(request.ip_adapter_image))
        return ImagePrompt(self, self.tokens_of(picture)[-rows:], 1.0 if scale is None else scale)

    def tokens_of(self, picture: Image.Image) -> torch.Tensor:
        """[2, 1, tokens, features]: of nothing, as diffusers has it for either kind, and of the picture."""
        pixels = self.image_processor(picture, return_tensors="pt").pixel_values
        pixels = pixels.to(self.encoder.device, self.encoder.dtype)
        if isinstance(self.projection, ImageProjection):
            said = self.encoder(pixels).image_embeds
            both = torch.cat([torch.zeros_like(said), said])
        else:
            layers = self.encoder(torch.cat([torch.zeros_like(pixels), pixels]), output_hidden_states=True)
            both = layers.hidden_states[-2]
        return torch.as_tensor(self.projection(both)[:, None])

    def fit(self, unet: Any) -> list[tuple[Any, IPAdapterAttnProcessor2_0]]:
        """The UNet's attention to texts, each with what it wears. Raises EngineFailed, `part_unfit`."""
        if unet not in self._fitted:
            self._fitted[unet] = self._made_for(unet)
        return self._fitted[unet]

    @serialized
    def _made_for(self, unet: Any) -> list[tuple[Any, IPAdapterAttnProcessor2_0]]:
        if features_of(self.projection) != unet.config.cross_attention_dim:
            raise self._unfit()
        tensors = {"image_proj": self.marks, "ip_adapter": self.layers}
        try:
            made = unet._convert_ip_adapter_attn_to_diffusers([tensors])
        except (KeyError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise self._unfit() from error
        found = [
            (unet.get_submodule(name.removesuffix(".processor")), worn)
            for name, worn in made.items()
            if isinstance(worn, IPAdapterAttnProcessor2_0)
        ]
        if 2 * len(found) != len(self.layers):
            raise self._unfit()
        return found

    @contextmanager
    def worn(self, unet: Any, scale: RowScale) -> Iterator[None]:
        """The UNet hears pictures inside, and outside is what it was."""
        fitted = self.fit(unet)
        plain = [attention.processor for attention, _ in fitted]
        try:
            for attention, processor in fitted:
                processor.scale = [scale]
                attention.set_processor(processor)
            yield
        finally:
            for (attention, _), before in zip(fitted, plain, strict=True):
                attention.set_processor(before)

    def _unfit(self) -> EngineFailed:
        return EngineFailed(
            f"The IP-Adapter {self.slug} does not fit this model: it was made for one of another shape.",
            code="part_unfit",
        )


@contextmanager
def heard(unet: Any, samples: Sequence[tuple[ImagePrompt | None, int]], texts: torch.Tensor) -> Iterator[Any]:
    """What the UNet is to hear in a step: texts [rows, tokens, features], and the pictures that are prompts, if any.

    Of those who share a call either all wear the same IP-Adapter, or none wears one.
    """
    prompts = [(prompt, rows) for prompt, rows in samples if prompt is not None]
    if not prompts:
        yield texts
        return
    tokens = torch.cat([prompt.tokens[-rows:] for prompt, rows in prompts])
    scales = torch.tensor([prompt.scale for prompt, rows in prompts for _ in range(rows)], device=texts.device)
    with prompts[0][0].adapter.worn(unet, RowScale(scales[:, None, None])):
        # As the UNet itself passes texts and tokens on, once it has projected the latter: we did that at the start.
        yield texts, [tokens]


@serialized
def load(spec: ModelSpec, hardware: Hardware) -> LoadedIPAdapter:
    """The IP-Adapter of a folder that was checked, in the device's memory.

    Raises ModelRefused for one of a kind that we do not know, or whose encoder is another one's.
    """
    folder = spec.path
    if folder is None:
        raise ModelRefused("it has no files.")
    read = load_file(adapter_in(folder))
    tensors = {name: tensor.to(hardware.device, hardware.dtype) for name, tensor in read.items()}
    projecting = {name.removeprefix(PROJECTION): one for name, one in tensors.items() if name.startswith(PROJECTION)}
    layers = {name.removeprefix(LAYERS): one for name, one in tensors.items() if name.startswith(LAYERS)}
    # Of a UNet its conversion asks device and type alone.
    projection = UNet2DConditionLoadersMixin._convert_ip_adapter_image_proj_to_diffusers(hardware, projecting)
    if not isinstance(projection, KINDS):
        raise ModelRefused("it is neither a plain IP-Adapter nor a plus one.")
    encoder, told = transformers.CLIPVisionModelWithProjection.from_pretrained(
        encoder_in(folder), dtype=hardware.dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    if told["missing_keys"] or any(tensor.is_meta for tensor in projection.state_dict().values()):
        raise ModelRefused("weights are missing.")
    seen, wanted = width_of(encoder, projection)
    if seen != wanted:
        raise ModelRefused(f"its encoder says {seen} numbers of a picture, and it hears {wanted}.")
    marks = {name: projecting[name] for name in MARKS if name in projecting}
    return LoadedIPAdapter(encoder.eval().to(hardware.device), projection.eval(), layers, marks, spec.slug)


def features_of(projection: Any) -> int:
    """How many numbers a token is."""
    norm = projection.norm if isinstance(projection, ImageProjection) else projection.norm_out
    return int(norm.normalized_shape[0])


def width_of(encoder: Any, projection: Any) -> tuple[int, int]:
    """How many numbers an encoder says, and a projection hears."""
    if isinstance(projection, ImageProjection):
        return encoder.config.projection_dim, projection.image_embeds.in_features
    return encoder.config.hidden_size, projection.proj_in.in_features
