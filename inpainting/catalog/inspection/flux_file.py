"""FLUX's transformer in one file, as Black Forest Labs publish it: without text encoders, tokenizers and VAE.

Such a file becomes a folder in diffusers' layout: those parts are taken from another folder, and the configurations of
pipeline, scheduler and transformer are the published ones of FLUX.1 Fill [dev].
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog import families
from inpainting.catalog.families import DiffusersLayout, ModelFamily
from inpainting.catalog.inspection.checkpoint_tensors import FLUX_TENSOR, check_numbers
from inpainting.catalog.inspection.diffusers_folder import check_configuration, diffusers_layout, pipeline_files
from inpainting.catalog.inspection.files import (
    CONFIG,
    GGUF,
    INDEX,
    WEIGHTS,
    ModelRefused,
    check_names,
    json_object,
    quote,
    shell,
    slug_of,
)
from inpainting.catalog.inspection.gguf_header import is_gguf

TRANSFORMER = "transformer"
WEIGHTS_NAMES = tuple(f"diffusion_pytorch_model{suffix}" for suffix in (WEIGHTS, GGUF))
"""Of the file, in the folder of the transformer."""
SCHEDULER_CONFIG = "scheduler/scheduler_config.json"
WIDTH, HEAD_WIDTH, ROPE_AXES = 3072, 128, [16, 56, 56]
"""Of every published FLUX.1; diffusers' conversion of its names is written for this width."""
PARTS = {
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""What the file lacks."""
TOGETHER = {
    "text_encoder": "text_encoders.clip_l.transformer.",
    "text_encoder_2": "text_encoders.t5xxl.transformer.",
    "vae": "vae.",
}
"""Component -> beginning of the names of its tensors in a file with several of them, as ComfyUI saves checkpoints."""
LABELS = {"text_encoder": "CLIP-L", "text_encoder_2": "T5-XXL", "vae": "the VAE"}
PARTS_HINT = (
    f"FOLDER is an installed model of the family, or a folder in diffusers' layout with {', '.join(PARTS)}: “hf "
    "download black-forest-labs/FLUX.1-Fill-dev --include 'text_encoder*/*' 'tokenizer*/*' 'vae/*' "
    "--local-dir FOLDER” gets one. In its place, --part FILE names the file of one part, as ComfyUI has them (clip_l, "
    "t5xxl, ae); it may be repeated."
)
PIPELINE = {
    "_class_name": "FluxFillPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    TRANSFORMER: ["diffusers", "FluxTransformer2DModel"],
    **PARTS,
}
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}


def flux_family() -> str:
    """Return the family of FLUX.1 Fill."""
    return next(family.name for family in transformer_families() if PIPELINE["_class_name"] == family.pipeline_class)


def transformer_families() -> list[ModelFamily]:
    """Return the families with models of such files."""
    return [family for family in families.registered_families() if is_of_one_component(family)]


def flux_command(path: Path, header: Mapping[str, Any], parts: Iterable[Path] = ()) -> str:
    """Return sentences with the command that adds a transformer of FLUX.1 Fill in one file. parts: its known files."""
    words = ["add_model", slug_of(path.stem), "--family", flux_family(), "--from", str(path)]
    words += [word for part in parts for word in ("--part", str(part))]
    if len(beside := parts_beside(header)) == len(TOGETHER):
        return f"{path.name} is FLUX.1 Fill with {join_names(beside)}. Type {shell(*words)}."
    alone = "alone" if not beside else f"with {join_names(beside)} alone"
    command = shell(*words, "--config", "FOLDER")
    return f"{path.name} is the transformer of FLUX.1 Fill {alone}. Type {command}. {PARTS_HINT}"


def transformer_tensors(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a file that are of no other component."""
    return {name: tensor for name, tensor in header.items() if not name.startswith(tuple(TOGETHER.values()))}


def parts_beside(header: Mapping[str, Any]) -> list[str]:
    """Return the components whose weights lie in the file of a transformer."""
    return [part for part, start in TOGETHER.items() if any(name.startswith(start) for name in header)]


def join_names(components: Iterable[str]) -> str:
    return " and ".join(LABELS[component] for component in components)


def weights_name(path: Path) -> str:
    """Return the name of a transformer's file in its folder."""
    return WEIGHTS_NAMES[is_gguf(path.name)]


def is_of_one_component(family: ModelFamily) -> bool:
    """Whether files of the family hold one component, so that the others come from elsewhere."""
    return isinstance(family.layout, DiffusersLayout) and bool(family.layout.checkpoint_component)


def is_flux(header: Mapping[str, Any]) -> bool:
    """Whether a file holds a transformer of FLUX with its published names."""
    return any(FLUX_TENSOR in name for name in header)


def check_transformer(header: Mapping[str, Any], file: str, family: str = "") -> None:
    """Refuse a transformer of FLUX that is none of the family, or of another shape. Raises ModelRefused.

    family: by default that of FLUX.1 Fill, the only one that the number of channels tells.
    """
    known, beside = families.get(family or flux_family()), parts_beside(header)
    header = transformer_tensors(header)
    channels, expected = input_channels(header), diffusers_layout(known.name).checkpoint_channels
    if channels != expected:
        others = f", with {join_names(beside)} beside it" if beside else ""
        same = [
            family for family in transformer_families() if diffusers_layout(family.name).checkpoint_channels == channels
        ]
        hints = "".join(f" If it is {file.label}, add it with --family {file.name}." for file in same)
        raise ModelRefused(
            f"{file} is a transformer of FLUX with {channels} input channels{others}; {known.label} has {expected}."
            f"{hints} Those that make images of text alone (dev, schnell, Krea), or follow edges or depth (Canny, "
            "Depth), are not supported."
        )
    if not is_gguf(file):
        check_numbers(header, file, may_be_scaled=True)
    if shape_of(header, "img_in.weight")[0] != WIDTH or head_width(header) != HEAD_WIDTH:
        raise ModelRefused(f"{file} is no transformer of FLUX of the published shape.")


def input_channels(header: Mapping[str, Any]) -> int:
    return shape_of(header, "img_in.weight")[-1]


def head_width(header: Mapping[str, Any]) -> int:
    return shape_of(header, "double_blocks.0.img_attn.norm.query_norm.scale")[-1]


def shape_of(header: Mapping[str, Any], end: str) -> list[int]:
    """Return the shape of the tensor whose name ends so; [0] where there is none."""
    return next((tensor["shape"] for name, tensor in header.items() if name.endswith(end)), [0]) or [0]


def transformer_configuration(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return diffusers' configuration of a transformer, from the shapes of its tensors."""
    return {
        "_class_name": "FluxTransformer2DModel",
        "attention_head_dim": HEAD_WIDTH,
        "axes_dims_rope": ROPE_AXES,
        "guidance_embeds": any("guidance_in." in name for name in header),
        "in_channels": input_channels(header),
        "joint_attention_dim": shape_of(header, "txt_in.weight")[-1],
        "num_attention_heads": WIDTH // HEAD_WIDTH,
        "num_layers": block_count(header, "double_blocks"),
        "num_single_layers": block_count(header, "single_blocks"),
        "out_channels": shape_of(header, "final_layer.linear.weight")[0],
        "patch_size": 1,
        "pooled_projection_dim": shape_of(header, "vector_in.in_layer.weight")[-1],
    }


def block_count(header: Mapping[str, Any], blocks: str) -> int:
    found = (re.search(rf"(?:\A|\.){blocks}\.(\d+)\.", name) for name in header)
    return len({match[1] for match in found if match})


def written_files(header: Mapping[str, Any], family: str) -> dict[str, dict[str, Any]]:
    """Return the configurations for a transformer of one file, by name in diffusers' layout."""
    return {
        INDEX: {**PIPELINE, "_class_name": diffusers_layout(family).pipelines[0]},
        SCHEDULER_CONFIG: SCHEDULER,
        f"{TRANSFORMER}/{CONFIG}": transformer_configuration(header),
    }


def part_files(names: Iterable[str], variant: str, family: str, parts: Collection[str]) -> list[str]:
    """Return the files of a folder that are these of PARTS. Raises ModelRefused where one is missing."""
    names = [name for name in names if name.partition("/")[0] in parts]
    absent = [part for part in parts if not any(name.startswith(f"{part}/") for name in names)]
    if absent:
        raise ModelRefused(f"It holds no folder {' and no folder '.join(absent)}.")
    index = {INDEX: "", **{part: PARTS[part] for part in parts}}
    needed = [name for name in pipeline_files(names, index, variant, family) if name != INDEX]
    check_names(needed)
    return needed


def check_parts(folder: Path, header: Mapping[str, Any], parts: Collection[str]) -> None:
    """Refuse text encoders whose features have another width than a transformer takes. Raises ModelRefused.

    parts: names of PARTS; others are not looked at.
    """
    widths = {
        "text_encoder": ("hidden_size", "vector_in.in_layer.weight"),
        "text_encoder_2": ("d_model", "txt_in.weight"),
    }
    for part, (key, tensor) in widths.items():
        if part not in parts:
            continue
        path = folder / part / CONFIG
        if not path.is_file():
            raise ModelRefused(f"{part} holds no {CONFIG}.")
        configuration = json_object(path.read_bytes(), CONFIG)
        check_configuration(configuration, Path(part, CONFIG), {})
        actual, expected = configuration.get(key), shape_of(header, tensor)[-1]
        if actual != expected:
            raise ModelRefused(f"{part} gives features of {quote(actual)}, the transformer takes {expected}.")
