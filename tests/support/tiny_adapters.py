"""ControlNets and IP-Adapters of a few KB with random weights, for the models of `tiny_models`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, ControlNetUnionModel, QwenImageControlNetModel, ZImageControlNetModel
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, SiglipVisionConfig, SiglipVisionModel

from inpainting.catalog.specs import ControlImageKind, Kind, ModelSpec
from inpainting.families.flux_dev.controlnet import FluxControlNetModel
from inpainting.families.sd3.controlnet import SD3ControlNetModel
from tests.support.tiny_models import FEATURES

HIDDEN_SIZE, EMBEDDING_SIZE = 32, 16
"""Features of an image patch in the encoder, and of the whole image."""
TOKENS = 3
HEAD = 64
"""What diffusers takes for the width of a head when it reads a plus adapter."""
TEXT_FEATURES = {"sd": FEATURES, "sdxl": 2 * FEATURES}


def controlnet(family: str, *, seed: int = 0, modes: int = 0, **more: Any) -> Any:
    """A ControlNet whose zero-initialised layers have random weights, as if it had been trained. modes: of a Union."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "cross_attention_dim": TEXT_FEATURES[family],
        "attention_head_dim": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
    }
    if family == "sdxl":
        shape |= {
            "attention_head_dim": (2, 4),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "transformer_layers_per_block": (1, 2),
            "projection_class_embeddings_input_dim": 6 * 8 + FEATURES,
        }
    if modes:
        shape |= {"num_control_type": modes, "num_trans_channel": 16, "num_proj_channel": 16, "num_trans_head": 2}
        shape |= {"addition_time_embed_dim": 8}
    network = (ControlNetUnionModel if modes else ControlNetModel)(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        norm_num_groups=8,
        conditioning_embedding_out_channels=(8, 8, 8, 8),
        **{**shape, **more},
    )
    convolutions = [
        layer for layer in network.controlnet_cond_embedding.modules() if isinstance(layer, torch.nn.Conv2d)
    ]
    if modes:
        torch.nn.init.normal_(network.task_embedding, std=0.3)
        torch.nn.init.normal_(network.spatial_ch_projs.weight, std=0.3)
    for layer in (*convolutions, network.controlnet_mid_block, *network.controlnet_down_blocks):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network.eval()


def z_image_controlnet(*, seed: int = 0, refiner: str | None = "control_noise_refiner", **more: Any) -> Any:
    """A ControlNet for a model of the family z-image, with random weights in its zero-initialised layers.

    refiner: `add_control_noise_refiner` of version 2.1; `control_layers` of 2.0; None, with 16 channels, of 1.
    """
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "control_layers_places": [0, 1],
        "control_refiner_layers_places": [0],
        "control_in_dim": 16 if refiner is None else 33,
        "add_control_noise_refiner": refiner,
        "dim": 32,
        "n_refiner_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 2,
    }
    network = ZImageControlNetModel(**{**shape, **more})
    for name, weight in network.named_parameters():
        if name.endswith(("before_proj.weight", "after_proj.weight")):
            torch.nn.init.normal_(weight, std=0.3)
    return network.eval()


def qwen_image_controlnet(*, seed: int = 0, inpaints: bool = True, **more: Any) -> Any:
    """A ControlNet for a model of the family qwen-image, with random weights in its zero-initialised layers."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "in_channels": 4 * 16,
        "out_channels": 16,
        "num_layers": 1,
        "attention_head_dim": 32,
        "num_attention_heads": 2,
        "joint_attention_dim": FEATURES,
        "axes_dims_rope": (4, 14, 14),
        "extra_condition_channels": 4 if inpaints else 0,
    }
    network = QwenImageControlNetModel(**{**shape, **more})
    for layer in (network.controlnet_x_embedder, *network.controlnet_blocks):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network.eval()


def flux_controlnet(*, seed: int = 0, inpaints: bool = True, **more: Any) -> Any:
    """A ControlNet for a model of the family flux-dev, with random weights in its zero-initialised layers."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "in_channels": 4 * 16,
        "num_layers": 1,
        "num_single_layers": 0,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": FEATURES,
        "pooled_projection_dim": FEATURES,
        "guidance_embeds": True,
        "axes_dims_rope": [4, 6, 6],
        "extra_condition_channels": 4 if inpaints else 0,
    }
    network = FluxControlNetModel(**{**shape, **more})
    for layer in (network.controlnet_x_embedder, *network.controlnet_blocks, *network.controlnet_single_blocks):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network.eval()


def sd3_controlnet(*, seed: int = 0, inpaints: bool = True, reads_text: bool = True, **more: Any) -> Any:
    """A ControlNet for a model of the family sd3, with random weights in its zero-initialised layers.

    reads_text: as those for Stable Diffusion 3; those for 3.5 Large read none, and embed no latents.
    """
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "sample_size": 32,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 2 * FEATURES if reads_text else None,
        "caption_projection_dim": 32,
        "pooled_projection_dim": FEATURES + 16,
        "pos_embed_max_size": 32 if reads_text else None,
        "pos_embed_type": "sincos" if reads_text else None,
        "use_pos_embed": reads_text,
        "force_zeros_for_pooled_projection": reads_text,
        "extra_conditioning_channels": 1 if inpaints else 0,
    }
    network = SD3ControlNetModel(**{**shape, **more})
    for layer in (network.pos_embed_input.proj, *network.controlnet_blocks):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network.eval()


def saved_controlnet(folder: Path, family: str, control: ControlImageKind, *, seed: int = 0, **more: Any) -> ModelSpec:
    builders: dict[str, Callable[..., Any]] = {
        "flux-dev": flux_controlnet,
        "sd3": sd3_controlnet,
        "z-image": z_image_controlnet,
        "qwen-image": qwen_image_controlnet,
    }
    build = builders.get(family) or partial(controlnet, family)
    build(seed=seed, **more).save_pretrained(folder, safe_serialization=True)
    return ModelSpec(
        slug=folder.name, label=folder.name, family=family, kind=Kind.CONTROLNET, control=control, path=folder
    )


def encoder(*, embedding_size: int = EMBEDDING_SIZE) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=HIDDEN_SIZE,
            intermediate_size=37,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
            projection_dim=embedding_size,
        )
    ).eval()


def adapter(unet: Any, *, kind: str = "plain", seed: int = 0, features: int | None = None) -> dict[str, torch.Tensor]:
    """The tensors of an IP-Adapter for a UNet, in the names of the published ones. kind: plain, plus or full."""
    generator = torch.Generator().manual_seed(seed)

    def made(*shape: int, std: float = 0.3) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * std

    features = features or unet.config.cross_attention_dim
    projections = {"plain": plain_projection, "plus": plus_projection, "full": full_projection}
    tensors = projections[kind](features, made)
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(names):
        width = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        for way in ("k", "v"):
            tensors[f"ip_adapter.{2 * number + 1}.to_{way}_ip.weight"] = made(width, features)
    return tensors


def plain_projection(features: int, made: Any) -> dict[str, torch.Tensor]:
    return {
        "image_proj.proj.weight": made(4 * features, EMBEDDING_SIZE),
        "image_proj.proj.bias": made(4 * features),
        "image_proj.norm.weight": 1 + made(features),
        "image_proj.norm.bias": made(features),
    }


def full_projection(features: int, made: Any) -> dict[str, torch.Tensor]:
    return {
        "image_proj.proj.0.weight": made(HIDDEN_SIZE, HIDDEN_SIZE),
        "image_proj.proj.0.bias": made(HIDDEN_SIZE),
        "image_proj.proj.2.weight": made(features, HIDDEN_SIZE),
        "image_proj.proj.2.bias": made(features),
        "image_proj.proj.3.weight": 1 + made(features),
        "image_proj.proj.3.bias": made(features),
    }


def plus_projection(features: int, made: Any) -> dict[str, torch.Tensor]:
    width = 24
    tensors = {
        "latents": made(1, TOKENS, width),
        "proj_in.weight": made(width, HIDDEN_SIZE),
        "proj_in.bias": made(width),
        "proj_out.weight": made(features, width),
        "proj_out.bias": made(features),
        "norm_out.weight": 1 + made(features),
        "norm_out.bias": made(features),
    }
    for layer in range(4):
        looks, thinks = f"layers.{layer}.0", f"layers.{layer}.1"
        for norm in ("norm1", "norm2"):
            tensors |= {f"{looks}.{norm}.weight": 1 + made(width), f"{looks}.{norm}.bias": made(width)}
        tensors |= {
            f"{looks}.to_q.weight": made(HEAD, width),
            f"{looks}.to_kv.weight": made(2 * HEAD, width),
            f"{looks}.to_out.weight": made(width, HEAD),
            f"{thinks}.0.weight": 1 + made(width),
            f"{thinks}.0.bias": made(width),
            f"{thinks}.1.weight": made(4 * width, width),
            f"{thinks}.3.weight": made(width, 4 * width),
        }
    return {f"image_proj.{name}": tensor for name, tensor in tensors.items()}


def saved_adapter(
    folder: Path, family: str, tensors: dict[str, torch.Tensor], *, seed: int = 0, embedding_size: int = EMBEDDING_SIZE
) -> ModelSpec:
    """Saved beside its image encoder, as in the published repository."""
    torch.manual_seed(seed)
    encoder(embedding_size=embedding_size).save_pretrained(folder / "models" / "image_encoder", safe_serialization=True)
    path = folder / "models" / f"{folder.name}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return ModelSpec(slug=folder.name, label=folder.name, family=family, kind=Kind.IP_ADAPTER, path=folder)


def siglip(*, width: int = HIDDEN_SIZE, side: int = 32) -> SiglipVisionModel:
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=width,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=side,
            patch_size=8,
        )
    ).eval()


def saved_redux(
    folder: Path, *, seed: int = 0, features: int = FEATURES, width: int = HIDDEN_SIZE, side: int = 32
) -> ModelSpec:
    """FLUX.1 Redux beside its image encoder, as in the published repository.

    features: of its tokens. width: of the image's patches, as its layers take them. side: of the encoder's image.
    """
    torch.manual_seed(seed)
    siglip(side=side).save_pretrained(folder / "image_encoder", safe_serialization=True)
    embedder = ReduxImageEncoder(redux_dim=width, txt_in_features=features)
    for weight in embedder.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    save_file(embedder.state_dict(), folder / f"{folder.name}.safetensors")
    return ModelSpec(
        slug=folder.name, label=folder.name, family="flux-dev", kind=Kind.IP_ADAPTER, variant=folder.name, path=folder
    )
