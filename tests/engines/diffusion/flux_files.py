"""Transformers of FLUX in one file with their published names, of one head and two blocks."""

from __future__ import annotations

import inspect
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf
import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders import single_file_model, single_file_utils
from safetensors.torch import save_file

from inpainting.catalog.inspection.formats.diffusers_folder import diffusers_layout
from inpainting.families.flux import transformer as flux_transformer
from inpainting.families.flux.lora_names import original_name
from tests.support import tiny_models
from tests.support.flux_names import published_tensors

WIDTH = 128


def allow_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the check and diffusers' conversion, which are written for the published width, take WIDTH."""
    name = "convert_flux_transformer_checkpoint_to_diffusers"
    source = inspect.getsource(getattr(single_file_utils, name))
    assert "inner_dim = 3072" in source
    names = dict(vars(single_file_utils))
    exec(source.replace("inner_dim = 3072", f"inner_dim = {WIDTH}"), names)  # noqa: S102 - diffusers' own source
    loadable = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["FluxTransformer2DModel"]
    monkeypatch.setitem(loadable, "checkpoint_mapping_fn", names[name])
    monkeypatch.setattr(flux_transformer, "WIDTH", WIDTH)


def transformer(channels: int, *, guidance: bool = True) -> torch.nn.Module:
    """A tiny transformer that has heads of the published width."""
    torch.manual_seed(1)
    return FluxTransformer2DModel(
        in_channels=channels,
        out_channels=64,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=WIDTH,
        num_attention_heads=1,
        joint_attention_dim=tiny_models.FEATURES,
        pooled_projection_dim=tiny_models.FEATURES,
        guidance_embeds=guidance,
    ).eval()


def saved(folder: Path, family: str = "flux-fill", *, guidance: bool = True) -> Path:
    """Save a pipeline of a family of FLUX.1 in diffusers' layout. Return its folder."""
    with TemporaryDirectory() as scratch:
        made = tiny_models.BUILDERS[family](Path(scratch))
        channels = diffusers_layout(family).file_channels
        made.register_modules(transformer=transformer(channels, guidance=guidance))
        made.save_pretrained(folder)
    return folder


def save_file_of(folder: Path, path: Path, *, prefix: str = "", **more: torch.Tensor) -> Path:
    """Save the transformer of a folder in diffusers' layout as one file with its published names."""
    network = FluxTransformer2DModel.from_pretrained(folder / "transformer")
    tensors = {
        f"{prefix}{name}": tensor for name, tensor in published_tensors(network.state_dict(), original_name).items()
    }
    save_file({**tensors, **more}, path)
    return path


def save_gguf_of(folder: Path, path: Path, kind: str = "Q8_0") -> Path:
    """Save the transformer of a folder as city96's converter writes it: matrices quantised, the rest in float32."""
    network = FluxTransformer2DModel.from_pretrained(folder / "transformer")
    writer = gguf.GGUFWriter(path, arch="flux")
    writer.add_array("comfy.gguf.orig_shape.img_in.weight", [1, 2])
    for name, tensor in published_tensors(network.state_dict(), original_name).items():
        wanted = gguf.GGMLQuantizationType[kind if tensor.ndim == 2 and tensor.shape[-1] % 32 == 0 else "F32"]
        writer.add_tensor(name, gguf.quantize(tensor.numpy(), wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
