"""Read a component whose weights are one file as other programs keep it: a VAE, or a text encoder in scaled fp8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import load_file

from inpainting.catalog.inspection.checkpoint_tensors import is_extra, scaled_weights
from inpainting.catalog.inspection.files import WEIGHTS
from inpainting.catalog.inspection.safetensors_header import read_header
from inpainting.networks.load_lock import serialize

VAES = (diffusers.AutoencoderKL, diffusers.AutoencoderKLFlux2)
ORIGINAL_VAE = "decoder.mid.block_1."
"""In the names of a VAE's tensors in the original layout (Rombach et al. 2022, `ldm/modules/diffusionmodules`)."""
INSIDE = re.compile(r"\A(encoder\.(?=quant_conv\.)|decoder\.(?=post_quant_conv\.))")
STATISTICS = "bn."
"""Before the names of FLUX.2's statistics of latents."""
VAE_LAYER = re.compile(
    r"(encoder|decoder)\.(conv_in|conv_out|norm_out|mid\.(block_[12]|attn_1)|(down|up)\.\d\.(block|attn)\.\d"
    r"|down\.\d\.downsample|up\.\d\.upsample)\."
)


def foreign_file_in(folder: Path, component_class: type[Any]) -> Path | None:
    """The one file of a component's weights if `from_pretrained` cannot read it, but `read_foreign` can."""
    files = list(folder.glob(f"*{WEIGHTS}"))
    if len(files) != 1:
        return None
    header = read_header(files[0])
    if component_class in VAES:
        return files[0] if any(ORIGINAL_VAE in name for name in header) else None
    return files[0] if scaled_weights(header) else None


def read_foreign(component_class: type[Any], path: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Read such a file with the configuration beside it. Also returns its `missing_keys` and `unexpected_keys`."""
    header = read_header(path)
    if component_class is diffusers.AutoencoderKLFlux2:
        return read_flux2_vae(path, dtype)
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
    encoder, info = serialize(component_class.from_pretrained)(
        None, config=configuration, state_dict=tensors, dtype=dtype, output_loading_info=True
    )
    return encoder, info


def read_flux2_vae(path: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Read a VAE of FLUX.2 as `read_foreign` does; diffusers has no loader of its single files.

    Its names are those of the original layout, but that two convolutions are inside encoder and decoder, and that it
    has statistics of its latents.
    """
    config = diffusers.AutoencoderKLFlux2.load_config(path.parent, local_files_only=True)
    tensors = {INSIDE.sub("", name): tensor for name, tensor in load_file(path).items()}
    statistics = {name: tensor for name, tensor in tensors.items() if name.startswith(STATISTICS)}
    vae = diffusers.AutoencoderKLFlux2.from_config(config)
    read = vae.load_state_dict(convert_ldm_vae_checkpoint(tensors, config) | statistics, strict=False)
    missing = [name for name in read.missing_keys if not name.endswith("num_batches_tracked")]  # of training
    unexpected = [*read.unexpected_keys, *ignored_of_vae(tensors, vae)]
    return vae.to(dtype), {"missing_keys": missing, "unexpected_keys": unexpected}


def ignored_of_vae(header: Mapping[str, Any], vae: Any) -> list[str]:
    """The tensors of a VAE's file that are no weights of it."""
    known = [f"{name}." for name in ("quant_conv", "post_quant_conv") if getattr(vae, name) is not None]
    if hasattr(vae, "bn"):
        known.append(STATISTICS)
    weights = [name for name in header if VAE_LAYER.match(name) or name.startswith(tuple(known))]
    return [name for name in header if name not in weights and not is_extra(name)]


def read_tensors(path: Path, header: Mapping[str, Any], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint; those in scaled fp8 are multiplied by their scales, in float32, and of `dtype`."""
    tensors = load_file(path)
    for name, scale in scaled_weights(header).items():
        tensors[name] = (tensors[name].float() * tensors.pop(scale).float()).to(dtype)
    return tensors


def missing_weights(path: Path) -> str:
    """The message for a checkpoint, or the folder of a component, with fewer weights than configured."""
    return f"{path.name} lacks weights that its configuration lists."
