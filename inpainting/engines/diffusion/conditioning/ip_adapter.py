"""IP-Adapters: an image as a prompt, through cross-attention layers that are added to a UNet during a step.

For a transformer it becomes tokens of the text: the family's `ImagePromptSupport` names what loads it.

H. Ye et al., "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models" (2023, arXiv
2308.06721). The layers and the projections are diffusers'; this module encodes the image, adds the layers and
removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
import transformers
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
)
from PIL import Image
from safetensors.torch import load_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from inpainting.catalog.inspection.adapter_files import image_encoder_folder, ip_adapter_file
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.specs import ModelSpec
from inpainting.core.adapter_uses import IP_ADAPTERS
from inpainting.core.codecs import to_rgb8
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import sentence
from inpainting.networks.device.hardware import Hardware, is_out_of_memory
from inpainting.networks.load_lock import serialize

LAYERS_PREFIX, PROJECTION_PREFIX = "ip_adapter.", "image_proj."
"""Prefixes of the tensors in an adapter's file."""
PROJECTIONS = (ImageProjection, IPAdapterPlusImageProjection, IPAdapterFullImageProjection)
"""Plain adapters project one embedding of the whole image, "plus" adapters the embeddings of its patches to a few
tokens, and "full" adapters each of them to a token."""
TOKEN_COUNT_TENSORS = ("proj.weight", "latents", "proj.3.weight")
"""Tensors from whose shapes diffusers derives the number of image tokens."""

Layer = tuple[Any, IPAdapterAttnProcessor2_0]
"""A cross-attention layer of a UNet, and the processor that replaces its own."""


@dataclass(frozen=True, slots=True, eq=False)
class ImagePrompts:
    """The image prompts of one generation, one for each of its IP-Adapters, in order.

    tokens: of each, [rows, 1, tokens, features], the unguided row first; for a transformer [1, tokens, features].
    layers: a UNet's cross-attention layers, each with the processor that attends to all of the tokens.
    """

    adapters: tuple[ImagePromptEncoder, ...]
    tokens: tuple[torch.Tensor, ...]
    scales: tuple[float, ...]
    layers: list[Layer]


class ImagePromptEncoder(Protocol):
    """An IP-Adapter in memory, whose tokens are for layers of a UNet or follow the text of a transformer."""

    def parameters(self) -> Iterator[torch.Tensor]:
        """All weights, as `torch.nn.Module.parameters` gives them."""
        ...

    def buffers(self) -> Iterator[torch.Tensor]: ...

    def encode_image(self, image: Image.Image) -> torch.Tensor:
        """The tokens of an image, as in `ImagePrompts`, with as many rows as there can be."""
        ...

    def has_processors(self, network: Any) -> bool:
        """Whether `attention_processors` need not make them."""
        ...

    def attention_processors(self, network: Any) -> list[Layer]:
        """The network's cross-attention layers, each with its processor; none for a transformer.

        Raises EngineFailed, `adapter_unfit`.
        """
        ...


class RowScale:
    """One scale for each row of a batch, where diffusers expects one number: it only multiplies features by it."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows  # [rows, 1, 1], float32

    def __mul__(self, features: torch.Tensor) -> torch.Tensor:
        return (self.rows * features).to(features.dtype)


@dataclass(frozen=True, eq=False)
class LoadedIPAdapter:
    """An IP-Adapter in memory. All UNets that it fits share its weights.

    encoder: the CLIP image encoder. projection: image embedding -> tokens. layers: weights of the attention to these
    tokens, by their names in the file. count_tensors: see TOKEN_COUNT_TENSORS.
    """

    slug: str
    encoder: Any
    projection: torch.nn.Module
    layers: dict[str, torch.Tensor]
    count_tensors: dict[str, torch.Tensor]
    _processors: WeakKeyDictionary[Any, list[Layer]] = field(default_factory=WeakKeyDictionary)

    def parameters(self) -> Iterator[torch.Tensor]:
        """All weights, as `torch.nn.Module.parameters` gives them."""
        yield from self.encoder.parameters()
        yield from self.projection.parameters()
        yield from self.layers.values()

    def buffers(self) -> Iterator[torch.Tensor]:
        yield from self.encoder.buffers()

    @torch.inference_mode()
    def encode_image(self, image: Image.Image) -> torch.Tensor:
        """Tokens [2, 1, tokens, features]: without an image, as diffusers defines them, and of the image."""
        side = self.encoder.config.image_size
        pixels = CLIPImageProcessorPil(size=side, crop_size=side)(image, return_tensors="pt").pixel_values
        pixels = pixels.to(self.encoder.device, self.encoder.dtype)
        if isinstance(self.projection, ImageProjection):
            embeds = self.encoder(pixels).image_embeds
            embeds = torch.cat([torch.zeros_like(embeds), embeds])
        else:
            encoded = self.encoder(torch.cat([torch.zeros_like(pixels), pixels]), output_hidden_states=True)
            embeds = encoded.hidden_states[-2]
        return torch.as_tensor(self.projection(embeds)[:, None])

    def has_processors(self, unet: Any) -> bool:
        """Whether `attention_processors` need not make them."""
        return unet in self._processors

    def attention_processors(self, unet: Any) -> list[Layer]:
        """The UNet's cross-attention layers, each with its processor. Raises EngineFailed, `adapter_unfit`."""
        if unet not in self._processors:
            self._processors[unet] = self._make_processors(unet)
        return self._processors[unet]

    @serialize
    def _make_processors(self, unet: Any) -> list[Layer]:
        if token_features(self.projection) != unet.config.cross_attention_dim:
            raise unfit(self.slug)
        tensors = {"image_proj": self.count_tensors, "ip_adapter": self.layers}
        try:
            processors = unet._convert_ip_adapter_attn_to_diffusers([tensors])
        except (KeyError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise unfit(self.slug) from error
        found = [
            (unet.get_submodule(name.removesuffix(".processor")), processor)
            for name, processor in processors.items()
            if isinstance(processor, IPAdapterAttnProcessor2_0)
        ]
        if 2 * len(found) != len(self.layers):
            raise unfit(self.slug)
        return found


def unfit(slug: str) -> EngineFailed:
    """Return the error for an IP-Adapter of another shape."""
    return EngineFailed(
        sentence("The IP-Adapter {slug} does not fit this model: it was made for one of another shape.", slug=slug),
        code="adapter_unfit",
    )


def encode_prompts(
    loaded: Mapping[str, ImagePromptEncoder], request: InpaintRequest, network: Any, rows: int
) -> ImagePrompts | None:
    """Encode a request's image prompts for a UNet or transformer; None where all scales are 0.

    loaded: the IP-Adapters by their slugs. rows: 2 where there is guidance, else 1.
    Raises EngineFailed: `ip_adapter_image_missing`; `adapter_unfit` if an adapter is for networks of another shape.
    """
    adapters, tokens, scales = [], [], []
    named = zip(IP_ADAPTERS.images, request.settings.ip_adapter_uses, strict=False)
    for name, use in ((name, use) for name, use in named if use.scale):
        image = request.conditioning_images.get(name)
        if image is None:
            raise EngineFailed(
                sentence("The IP-Adapter {slug} needs an image prompt, and none was sent.", slug=use.slug),
                code="ip_adapter_image_missing",
            )
        adapter = loaded[use.slug]
        adapter.attention_processors(network)  # raises unless the adapter fits
        adapters.append(adapter)
        tokens.append(adapter.encode_image(Image.fromarray(to_rgb8(image)))[-rows:])
        scales.append(use.scale)
    if not adapters:
        return None
    layers = join_layers([adapter.attention_processors(network) for adapter in adapters])
    return ImagePrompts(tuple(adapters), tuple(tokens), tuple(scales), layers)


def join_layers(layers: Sequence[list[Layer]]) -> list[Layer]:
    """One processor for each cross-attention layer, which has the weights of all adapters in order.

    layers: those of each adapter for the same UNet. Their weights are shared, not copied.
    """
    if len(layers) == 1:
        return layers[0]
    joined = []
    for parts in zip(*layers, strict=True):
        attention, first = parts[0]
        processors = [processor for _, processor in parts]
        with torch.device("meta"):  # its own weights are replaced
            one = IPAdapterAttnProcessor2_0(
                first.hidden_size,
                first.cross_attention_dim,
                num_tokens=[processor.num_tokens[0] for processor in processors],
            )
        one.to_k_ip = torch.nn.ModuleList([processor.to_k_ip[0] for processor in processors])
        one.to_v_ip = torch.nn.ModuleList([processor.to_v_ip[0] for processor in processors])
        joined.append((attention, one))
    return joined


@contextmanager
def with_image_prompts(
    unet: Any, samples: Sequence[tuple[ImagePrompts | None, int]], embeds: torch.Tensor
) -> Iterator[Any]:
    """The UNet's `encoder_hidden_states` for a step: embeds [rows, tokens, features], with image prompts if any.

    samples: image prompts and number of rows of each sample. Either all have the same IP-Adapters or none has one.
    """
    prompts = [(prompt, rows) for prompt, rows in samples if prompt is not None]
    if not prompts:
        yield embeds
        return
    numbers = range(len(prompts[0][0].adapters))
    tokens = [torch.cat([prompt.tokens[n][-rows:] for prompt, rows in prompts]).to(embeds.dtype) for n in numbers]
    scales = [
        torch.tensor([prompt.scales[n] for prompt, rows in prompts for _ in range(rows)], device=embeds.device)
        for n in numbers
    ]
    with attach_processors(unet, prompts[0][0].layers, [RowScale(rows[:, None, None]) for rows in scales]):
        # As the UNet's own `encoder_hid_proj` returns them: the projection was computed once, in `encode_image`.
        yield embeds, tokens


@contextmanager
def attach_processors(unet: Any, layers: Sequence[Layer], scales: list[RowScale]) -> Iterator[None]:
    """Replace the attention processors of a UNet within the context. scales: of each IP-Adapter."""
    before = [attention.processor for attention, _ in layers]
    try:
        for attention, processor in layers:
            processor.scale = scales
            processor.to(unet.dtype)
            attention.set_processor(processor)
        yield
    finally:
        for (attention, _), processor_before in zip(layers, before, strict=True):
            attention.set_processor(processor_before)


@serialize
def load(spec: ModelSpec, hardware: Hardware) -> LoadedIPAdapter:
    """Load an IP-Adapter from its folder, which has been checked, into the device's memory.

    Raises ModelRefused for an unknown kind of adapter, missing weights, or an image encoder of another adapter.
    """
    folder = spec.path
    if folder is None:
        raise ModelRefused(sentence("it has no files."))
    tensors = {
        name: tensor.to(hardware.device, hardware.dtype) for name, tensor in load_file(ip_adapter_file(folder)).items()
    }
    projection_tensors, layers = (
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in (PROJECTION_PREFIX, LAYERS_PREFIX)
    )
    # A method of diffusers' UNet, of which it reads only `device` and `dtype`: `hardware` has both.
    projection = UNet2DConditionLoadersMixin._convert_ip_adapter_image_proj_to_diffusers(hardware, projection_tensors)
    if not isinstance(projection, PROJECTIONS):
        raise ModelRefused(sentence("it is neither a plain IP-Adapter nor a plus or a full one."))
    encoder, loading_info = transformers.CLIPVisionModelWithProjection.from_pretrained(
        image_encoder_folder(folder),
        dtype=hardware.dtype,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    if loading_info["missing_keys"] or any(tensor.is_meta for tensor in projection.state_dict().values()):
        raise ModelRefused(sentence("weights are missing."))
    encoder_width, projection_width = embedding_widths(encoder, projection)
    if encoder_width != projection_width:
        raise ModelRefused(
            sentence(
                "its image encoder gives {encoder_width} features, and its projection takes {projection_width}.",
                encoder_width=encoder_width,
                projection_width=projection_width,
            )
        )
    count_tensors = {name: projection_tensors[name] for name in TOKEN_COUNT_TENSORS if name in projection_tensors}
    return LoadedIPAdapter(spec.slug, encoder.eval().to(hardware.device), projection.eval(), layers, count_tensors)


def token_features(projection: Any) -> int:
    """Features of the tokens that the projection returns."""
    norm = projection.norm_out if isinstance(projection, IPAdapterPlusImageProjection) else projection.norm
    return int(norm.normalized_shape[0])


def embedding_widths(encoder: Any, projection: Any) -> tuple[int, int]:
    """Features that the image encoder returns, and features that the projection takes."""
    if isinstance(projection, ImageProjection):
        return encoder.config.projection_dim, projection.image_embeds.in_features
    if isinstance(projection, IPAdapterFullImageProjection):
        return encoder.config.hidden_size, projection.ff.net[0].proj.in_features
    return encoder.config.hidden_size, projection.proj_in.in_features
