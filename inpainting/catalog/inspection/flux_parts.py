"""Text encoders and VAE of FLUX.1 in files of their own (clip_l, t5xxl, ae) or beside the transformer, as in ComfyUI.

They are recognised by their tensors. Their configurations and tokenizers are the published ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog import configurations
from inpainting.catalog.inspection.checkpoint_tensors import check_numbers, is_extra
from inpainting.catalog.inspection.files import CONFIG, ModelRefused, check_single_file, json_in
from inpainting.catalog.inspection.flux_file import (
    LABELS,
    PARTS,
    TOGETHER,
    TRANSFORMER,
    check_parts,
    parts_beside,
    shape_of,
    transformer_tensors,
    weights_name,
)
from inpainting.catalog.inspection.safetensors_header import read_header
from inpainting.catalog.inspection.tensor_slice import TensorSlice

TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
NETWORKS = {
    "text_encoder": ("text_model.final_layer_norm.weight", 0, "hidden_size", "model.safetensors"),
    "text_encoder_2": ("encoder.final_layer_norm.weight", 0, "d_model", "model.safetensors"),
    "vae": ("decoder.conv_in.weight", 1, "latent_channels", "diffusion_pytorch_model.safetensors"),
}
"""Component -> a tensor that it has, which size of it is which value of the configuration, the name of its file."""
UNUSED = f"{TOGETHER['text_encoder']}text_projection.weight"
"""Saved by ComfyUI with CLIP-L; FLUX.1 takes the features before that projection."""


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
        found[component] = path
    return found


def weights_in(path: Path, header: Mapping[str, Any], parts: Mapping[str, Path]) -> dict[str, Path | TensorSlice]:
    """Return the weights of a model by their names in diffusers' layout.

    path: the transformer, and what lies beside it in the file. header: of the file. parts: files by component, which
    are taken in place of what lies in that file.
    """
    transformer: Path | TensorSlice = path
    inside = parts_beside(header)
    if inside:
        kept = [name for name in transformer_tensors(header) if not is_extra(name)]
        transformer = TensorSlice(path, {name: name for name in kept}, header)
    weights = {f"{TRANSFORMER}/{weights_name(path)}": transformer}
    for component in NETWORKS:
        name = f"{component}/{NETWORKS[component][-1]}"
        if component in parts:
            weights[name] = parts[component]
        elif component in inside:
            start = TOGETHER[component]
            names = [name for name in header if name.startswith(start) and name != UNUSED]
            weights[name] = TensorSlice(path, {name: name.removeprefix(start) for name in names}, header)
    return weights


def write_parts(folder: Path, weights: Mapping[str, Path | TensorSlice], header: Mapping[str, Any]) -> None:
    """Write configurations and tokenizers of the components with weights into a folder.

    header: of the transformer's file. Raises ModelRefused for quantised weights, and those of another size.
    """
    components = [name.partition("/")[0] for name in weights]
    configurations.write_flux_parts(folder, {*components, *(TOKENIZERS.get(component, "") for component in components)})
    check_parts(folder, header, components)
    for name, origin in weights.items():
        component = name.partition("/")[0]
        if component == TRANSFORMER:
            continue
        if isinstance(origin, Path):
            label, tensors = origin.name, read_header(origin)
        else:
            label = f"{LABELS[component]} in {origin.path.name}"
            tensors = {new: header[old] for old, new in origin.names.items()}
        check_numbers(tensors, label, may_be_scaled=component in TOKENIZERS)
        key = NETWORKS[component][2]
        size, expected = size_of(tensors, component), json_in(folder / component / CONFIG)[key]
        if size != expected:
            raise ModelRefused(
                f"{label} is not {LABELS[component]} as FLUX.1 has it: {key} is {size or 'unknown'}, not {expected}."
            )


def size_of(tensors: Mapping[str, Any], component: str) -> int:
    """Return the size by which a component is compared with its configuration; 0 where no tensor tells it."""
    tensor, place, *_ = NETWORKS[component]
    shape = shape_of(tensors, tensor)
    return int(shape[place]) if len(shape) > place else 0


def published_part(header: Mapping[str, Any]) -> str:
    """Return the component of FLUX.1 that a file's tensors are, of the published size; "" for none."""
    component = component_of(header)
    published = configurations.files_of(configurations.FLUX_PARTS)
    if component and size_of(header, component) == published[f"{component}/{CONFIG}"][NETWORKS[component][2]]:
        return component
    return ""


def absent_parts(weights: Collection[str]) -> list[str]:
    """Return what a transformer lacks beside these weights, tokenizers included."""
    there = {name.partition("/")[0] for name in weights}
    there |= {TOKENIZERS.get(component, "") for component in there}
    return [part for part in PARTS if part not in there]
