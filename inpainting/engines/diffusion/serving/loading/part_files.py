"""Read a component whose weights are one file as other programs keep it: a VAE, or a text encoder in scaled fp8 or
without its projection."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint, convert_wan_vae_to_diffusers
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextModelWithProjection

from inpainting.catalog.inspection.files import WEIGHTS
from inpainting.catalog.inspection.formats.checkpoint_tensors import FLOAT8, is_extra, scaled_weights
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.core.sentences import sentence
from inpainting.networks.load_lock import serialize

ORIGINAL_VAE = "decoder.mid.block_1."
"""In the names of a VAE's tensors in the original layout (Rombach et al. 2022, `ldm/modules/diffusionmodules`)."""
ORIGINAL_VAES = {
    diffusers.AutoencoderKL: ORIGINAL_VAE,
    diffusers.AutoencoderKLFlux2: ORIGINAL_VAE,
    diffusers.AutoencoderKLQwenImage: "decoder.middle.0.residual.",  # Wan's names (github.com/Wan-Video/Wan2.1)
}
"""Class -> what is in the names of its tensors in the layout of its publisher."""
PROJECTION = "text_projection.weight"
UNPROJECTED = frozenset({768})
"""Widths of CLIPs that are published without their last layer, which changes nothing then: CLIP-L in the files for
ComfyUI (github.com/Stability-AI/sd3.5, `other_impls.py`)."""
TEXT_PREFIX = re.compile(r"\A((model|language_model|text_model)\.)+")
"""Before the names of a text encoder's layers, where files and the classes of transformers differ."""
INSIDE = re.compile(r"\A(encoder\.(?=quant_conv\.)|decoder\.(?=post_quant_conv\.))")
VAE_LAYER = re.compile(
    r"(encoder|decoder)\.(conv_in|conv_out|norm_out|mid\.(block_[12]|attn_1)|(down|up)\.\d\.(block|attn)\.\d"
    r"|down\.\d\.downsample|up\.\d\.upsample)\."
)
FLUX2_LAYER = re.compile(rf"{VAE_LAYER.pattern}|(post_)?quant_conv\.")


def foreign_file_in(folder: Path, component_class: type[Any]) -> Path | None:
    """The one file of a component's weights if `from_pretrained` cannot read it, but `read_foreign` can."""
    files = list(folder.glob(f"*{WEIGHTS}"))
    if len(files) != 1:
        return None
    header = read_header(files[0])
    if component_class is CLIPTextModelWithProjection and PROJECTION not in header:
        return files[0]
    if (original := ORIGINAL_VAES.get(component_class)) is not None:
        return files[0] if any(original in name for name in header) else None
    return files[0] if scaled_weights(header) else None


def read_foreign(component_class: type[Any], path: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Read such a file with the configuration beside it. Also returns its `missing_keys` and `unexpected_keys`."""
    header = read_header(path)
    if component_class is diffusers.AutoencoderKLFlux2:
        return read_vae(component_class, path, dtype, flux2_tensors)
    if component_class is diffusers.AutoencoderKLQwenImage:
        return read_vae(component_class, path, dtype, wan_tensors)
    if component_class is diffusers.AutoencoderKL:
        try:
            vae = serialize(component_class.from_single_file)(
                str(path), config=str(path.parent), torch_dtype=dtype, local_files_only=True
            )
        except NotImplementedError as error:  # raised by torch for a tensor without data
            raise ValueError(missing_weights(path.parent)) from error
        missing = [name for name, tensor in vae.state_dict().items() if tensor.is_meta]
        return vae, {"missing_keys": missing, "unexpected_keys": ignored_of_vae(header, vae)}
    tensors = {name: tensor for name, tensor in read_tensors(path, header, dtype).items() if not is_extra(name)}
    configuration = component_class.config_class.from_pretrained(path.parent, local_files_only=True)
    if component_class is CLIPTextModelWithProjection and configuration.hidden_size in UNPROJECTED:
        tensors.setdefault(PROJECTION, torch.eye(configuration.hidden_size, dtype=dtype))
    encoder, info = serialize(component_class.from_pretrained)(
        None, config=configuration, state_dict=tensors, dtype=dtype, output_loading_info=True
    )
    return encoder, info


Convert = Callable[[dict[str, torch.Tensor], Mapping[str, Any]], dict[str, torch.Tensor]]
"""Gives the tensors of a file their names in diffusers, by the configuration; what is no weight keeps its name."""


def read_vae(
    component_class: type[Any], path: Path, dtype: torch.dtype, convert: Convert
) -> tuple[Any, dict[str, Any]]:
    """Read a VAE as `read_foreign` does, for classes of which diffusers loads no single files."""
    config = component_class.load_config(path.parent, local_files_only=True)
    vae = serialize(component_class.from_config)(config)
    read = vae.load_state_dict(convert(load_file(path), config), strict=False)
    missing = [name for name in read.missing_keys if not name.endswith("num_batches_tracked")]  # of training
    return vae.to(dtype), {"missing_keys": missing, "unexpected_keys": read.unexpected_keys}


def flux2_tensors(tensors: dict[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """As `Convert`: FLUX.2 has the original layout, with two convolutions inside encoder and decoder."""
    named = {INSIDE.sub("", name): tensor for name, tensor in tensors.items()}
    others = {name: tensor for name, tensor in named.items() if not FLUX2_LAYER.match(name)}
    return {**convert_ldm_vae_checkpoint(named, config), **others}


def wan_tensors(tensors: dict[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """As `Convert`."""
    return dict(convert_wan_vae_to_diffusers(tensors))


def ignored_of_vae(header: Mapping[str, Any], vae: Any) -> list[str]:
    """The tensors of a VAE's file that are no weights of it."""
    quantisation = [f"{name}." for name in ("quant_conv", "post_quant_conv") if getattr(vae, name) is not None]
    weights = [name for name in header if VAE_LAYER.match(name) or name.startswith(tuple(quantisation))]
    return [name for name in header if name not in weights and not is_extra(name)]


def read_tensors(path: Path, header: Mapping[str, Any], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint; those in scaled fp8 are multiplied by their scales, in float32, and of `dtype`."""
    tensors = load_file(path)
    for name, scale in scaled_weights(header).items():
        tensors[name] = (tensors[name].float() * tensors.pop(scale).float()).to(dtype)
    return tensors


def row_scales(path: Path, header: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """For each tensor of a checkpoint the scales of its rows, [rows, 1, …], float32; NaN where it is not in fp8."""
    found, scale_names = {}, scaled_weights(header)
    with safe_open(path, framework="pt") as file:
        for name, tensor in header.items():
            if is_extra(name) or not tensor["shape"]:
                continue
            rows, *sides = tensor["shape"]
            scale = file.get_tensor(scale_names[name]).float() if name in scale_names else torch.tensor(1.0)
            scale = scale if tensor["dtype"] in FLOAT8 else torch.tensor(torch.nan)
            found[name] = scale.reshape(-1, *[1] * len(sides)).expand(rows, *[1] * len(sides)).clone()
    return found


def float8_text_file(folder: Path) -> Path | None:
    """The file of a text encoder if it is the only one in its folder and in fp8, which stays so in memory."""
    files = list(folder.glob(f"*{WEIGHTS}"))
    has_float8 = len(files) == 1 and any(tensor["dtype"] in FLOAT8 for tensor in read_header(files[0]).values())
    return files[0] if has_float8 else None


def text_scales(path: Path, encoder: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What `row_scales` returns, by the names of an encoder's weights that was read from the file."""
    scales = {TEXT_PREFIX.sub("", name): scale for name, scale in row_scales(path, read_header(path)).items()}
    names = {name: TEXT_PREFIX.sub("", name) for name, _ in encoder.named_parameters()}
    return {name: scales[stored] for name, stored in names.items() if stored in scales}


def missing_weights(path: Path) -> str:
    """The message for a checkpoint, or the folder of a component, with fewer weights than configured."""
    return sentence("{file} lacks weights that its configuration lists.", file=path.name)
