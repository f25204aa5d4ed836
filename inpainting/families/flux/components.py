"""Text encoders and VAE of FLUX.1 in files of their own (clip_l, t5xxl, ae) or beside the transformer, as in ComfyUI.

They are recognised by their tensors. Their configurations and tokenizers are the published ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog import configurations
from inpainting.catalog.inspection.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.diffusers_folder import check_configuration, pipeline_files
from inpainting.catalog.inspection.files import (
    CONFIG,
    INDEX,
    ModelRefused,
    check_names,
    check_single_file,
    json_in,
    json_object,
    quote,
)
from inpainting.catalog.inspection.known_files import refuse_known
from inpainting.catalog.inspection.safetensors_header import read_header
from inpainting.catalog.inspection.tensor_slice import TensorSlice
from inpainting.families.flux.declaration import CONFIGURATIONS
from inpainting.families.flux.transformer import COMPONENTS, TRANSFORMER, shape_of

LABELS = {"text_encoder": "CLIP-L", "text_encoder_2": "T5-XXL", "vae": "the VAE"}
TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
"""Text encoder -> its tokenizer."""
BESIDE = {
    "text_encoder": "text_encoders.clip_l.transformer.",
    "text_encoder_2": "text_encoders.t5xxl.transformer.",
    "vae": "vae.",
}
"""Component -> beginning of the names of its tensors in a file with several of them, as ComfyUI saves checkpoints."""
NETWORKS = {
    "text_encoder": ("text_model.final_layer_norm.weight", 0, "hidden_size", "model.safetensors"),
    "text_encoder_2": ("encoder.final_layer_norm.weight", 0, "d_model", "model.safetensors"),
    "vae": ("decoder.conv_in.weight", 1, "latent_channels", "diffusion_pytorch_model.safetensors"),
}
"""Component -> a tensor that it has, which size of it is which value of the configuration, the name of its file."""
WIDTHS = {
    "text_encoder": ("hidden_size", "vector_in.in_layer.weight"),
    "text_encoder_2": ("d_model", "txt_in.weight"),
}
"""Text encoder -> the value of its configuration that is its width, the tensor of the transformer that takes it."""
UNUSED = f"{BESIDE['text_encoder']}text_projection.weight"
"""Saved by ComfyUI with CLIP-L; FLUX.1 takes the features before that projection."""


def join_labels(components: Iterable[str]) -> str:
    return " and ".join(LABELS[component] for component in components)


def component_of(header: Mapping[str, Any]) -> str:
    """Return the component that a file's tensors are the weights of; "" for none."""
    return next((component for component, (tensor, *_) in NETWORKS.items() if tensor in header), "")


def published_component(header: Mapping[str, Any]) -> str:
    """Return the component that a file's tensors are the weights of, in the published size; "" for none."""
    component = component_of(header)
    published = configurations.files_of(CONFIGURATIONS)
    if component and size_of(header, component) == published[f"{component}/{CONFIG}"][NETWORKS[component][2]]:
        return component
    return ""


def size_of(tensors: Mapping[str, Any], component: str) -> int:
    """Return the size by which a component is compared with its configuration; 0 where no tensor tells it."""
    tensor, place, *_ = NETWORKS[component]
    shape = shape_of(tensors, tensor)
    return int(shape[place]) if len(shape) > place else 0


def files_by_component(paths: Iterable[Path]) -> dict[str, Path]:
    """Return the file of each component. Raises ModelRefused for another kind of file, and for two of one kind."""
    found: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise ModelRefused(f"There is no file {path}.")
        check_single_file(path)
        header = read_header(path)
        refuse_known(header, path.name)
        component = component_of(header)
        if not component:
            raise ModelRefused(f"{path.name} is no text encoder (CLIP or T5) and no VAE of FLUX.1.")
        if component in found:
            raise ModelRefused(f"{found[component].name} and {path.name} are both files of {LABELS[component]}.")
        found[component] = path
    return found


def components_beside(header: Mapping[str, Any]) -> list[str]:
    """Return the components whose weights lie in the file of a transformer."""
    return [component for component, start in BESIDE.items() if any(name.startswith(start) for name in header)]


def slice_beside(path: Path, header: Mapping[str, Any], component: str) -> TensorSlice:
    """Return the weights of a component in the file of a transformer."""
    start = BESIDE[component]
    names = [name for name in header if name.startswith(start) and name != UNUSED]
    return TensorSlice(path, {name: name.removeprefix(start) for name in names}, header)


def absent_components(weights: Collection[str]) -> list[str]:
    """Return what a transformer lacks beside these weights, tokenizers included."""
    present = {name.partition("/")[0] for name in weights}
    present |= {TOKENIZERS.get(component, "") for component in present}
    return [component for component in COMPONENTS if component not in present]


def component_files(names: Iterable[str], variant: str, family: str, components: Collection[str]) -> list[str]:
    """Return the files of a folder that are these of COMPONENTS. Raises ModelRefused where one is missing."""
    names = [name for name in names if name.partition("/")[0] in components]
    absent = [component for component in components if not any(name.startswith(f"{component}/") for name in names)]
    if absent:
        raise ModelRefused(f"It holds no folder {' and no folder '.join(absent)}.")
    index = {INDEX: "", **{component: COMPONENTS[component] for component in components}}
    needed = [name for name in pipeline_files(names, index, variant, family) if name != INDEX]
    check_names(needed)
    return needed


def check_widths(folder: Path, header: Mapping[str, Any], components: Collection[str]) -> None:
    """Refuse text encoders whose features have another width than a transformer takes. Raises ModelRefused.

    header: of the transformer. components: names of COMPONENTS; others are not looked at.
    """
    for component, (key, tensor) in WIDTHS.items():
        if component not in components:
            continue
        path = folder / component / CONFIG
        if not path.is_file():
            raise ModelRefused(f"{component} holds no {CONFIG}.")
        configuration = json_object(path.read_bytes(), CONFIG)
        check_configuration(configuration, Path(component, CONFIG), {})
        actual, expected = configuration.get(key), shape_of(header, tensor)[-1]
        if actual != expected:
            raise ModelRefused(f"{component} gives features of {quote(actual)}, the transformer takes {expected}.")


def write_components(folder: Path, weights: Mapping[str, Path | TensorSlice], header: Mapping[str, Any]) -> None:
    """Write configurations and tokenizers of the components with weights into a folder.

    header: of the transformer's file. Raises ModelRefused for quantised weights, and those of another size.
    """
    components = [name.partition("/")[0] for name in weights]
    wanted = {*components, *(TOKENIZERS.get(component, "") for component in components)}
    configurations.write_components(CONFIGURATIONS, folder, wanted)
    check_widths(folder, header, components)
    for component, origin in zip(components, weights.values(), strict=True):
        if component != TRANSFORMER:
            check_weights(folder, component, origin, header)


def check_weights(folder: Path, component: str, origin: Path | TensorSlice, header: Mapping[str, Any]) -> None:
    """Refuse quantised weights of a component, and those of another size than configured. Raises ModelRefused."""
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
