"""Text encoders and VAE of FLUX.1 in files of their own, as ComfyUI has them: clip_l, t5xxl and ae.

They are recognised by their tensors. Their configurations and tokenizers are the published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog import configurations
from inpainting.catalog.inspection.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.files import CONFIG, ModelRefused, check_single_file, json_in
from inpainting.catalog.inspection.flux_file import PARTS, check_parts, shape_of
from inpainting.catalog.inspection.safetensors_header import read_header

TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
NETWORKS = {
    "text_encoder": ("text_model.final_layer_norm.weight", 0, "hidden_size", "model.safetensors"),
    "text_encoder_2": ("encoder.final_layer_norm.weight", 0, "d_model", "model.safetensors"),
    "vae": ("decoder.conv_in.weight", 1, "latent_channels", "diffusion_pytorch_model.safetensors"),
}
"""Component -> a tensor that it has, which size of it is which value of the configuration, the name of its file."""
LABELS = {"text_encoder": "CLIP-L", "text_encoder_2": "T5-XXL", "vae": "FLUX's VAE"}


def component_of(header: Mapping[str, Any]) -> str:
    """Return the component that a file's tensors are the weights of; "" for none."""
    return next((component for component, (tensor, *_) in NETWORKS.items() if tensor in header), "")


def parts_in(paths: Iterable[Path]) -> dict[str, Path]:
    """Return the file of each component. Raises ModelRefused for another kind of file, and for two of one kind."""
    found: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise ModelRefused(f"There is no file {path}.")
        check_single_file(path)
        header = read_header(path)
        component = component_of(header)
        if not component:
            raise ModelRefused(f"{path.name} is no text encoder (CLIP or T5) and no VAE of FLUX.1.")
        if component in found:
            raise ModelRefused(f"{found[component].name} and {path.name} are both files of {LABELS[component]}.")
        check_numbers(header, path.name, may_be_scaled=component in TOKENIZERS)
        found[component] = path
    return found


def write_parts(folder: Path, parts: Mapping[str, Path], transformer: Mapping[str, Any]) -> dict[str, Path]:
    """Write configurations and tokenizers of components into a folder.

    transformer: the header of its file. Returns the file of weights for each name in diffusers' layout. Raises
    ModelRefused for weights of another size than published.
    """
    configurations.write_flux_parts(folder, {*parts, *(TOKENIZERS[one] for one in parts if one in TOKENIZERS)})
    check_parts(folder, transformer, parts)
    named = {}
    for component, path in parts.items():
        tensor, place, key, file = NETWORKS[component]
        size, expected = shape_of(read_header(path), tensor), json_in(folder / component / CONFIG)[key]
        if len(size) <= place or size[place] != expected:
            raise ModelRefused(
                f"{path.name} is not {LABELS[component]} as FLUX.1 has it: {key} is {size[place : place + 1]}, not "
                f"{expected}."
            )
        named[f"{component}/{file}"] = path
    return named


def absent_parts(parts: Mapping[str, Path]) -> list[str]:
    """Return what a transformer lacks beside these components, tokenizers included."""
    tokenizers = {TOKENIZERS[one] for one in parts if one in TOKENIZERS}
    return [part for part in PARTS if part not in parts and part not in tokenizers]
