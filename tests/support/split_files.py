"""Tiny models in the files of ComfyUI: transformer, text encoder and VAE, each with the names of its publisher."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Callable, Container
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2
from diffusers.loaders import single_file_model, single_file_utils
from django.core.management import call_command
from safetensors.torch import load_file, save_file

from inpainting.catalog import configurations
from inpainting.catalog.inspection import known_files
from inpainting.catalog.inspection.formats.component_file import component_file_class
from inpainting.catalog.inspection.transformer_file import TransformerFile
from inpainting.families.flux import transformer as flux_transformer
from inpainting.families.flux.lora_names import original_name as flux_1_name
from inpainting.families.flux2_klein.lora_names import original_name
from inpainting.families.known_files import KNOWN_FILES, TAKEN, KnownFile
from inpainting.models import InferenceModel
from tests.support import original_layout
from tests.support.flux_names import published_tensors

Tensors = dict[str, torch.Tensor]
APPROXIMATOR = "distilled_guidance_layer."
COMPONENTS = ("transformer", "text_encoder", "vae")
WEIGHTS = {"transformer": "diffusion_pytorch_model", "text_encoder": "model", "vae": "diffusion_pytorch_model"}


def z_image(tensors: Tensors) -> Tensors:
    """The transformer of Z-Image: the projections of an attention layer are one."""
    named: Tensors = {}
    for name, tensor in tensors.items():
        if name.endswith(".attention.to_q.weight"):
            stem = name.removesuffix("to_q.weight")
            named[f"{stem}qkv.weight"] = torch.cat([tensors[f"{stem}to_{part}.weight"] for part in "qkv"])
        elif not name.endswith((".attention.to_k.weight", ".attention.to_v.weight")):
            name = name.replace("to_out.0", "out").replace("norm_q", "q_norm").replace("norm_k", "k_norm")
            named[name.replace("all_x_embedder.2-1", "x_embedder").replace("all_final_layer.2-1", "final_layer")] = (
                tensor
            )
    return named | {"norm_final.weight": torch.ones(4)}  # in the published files, and read by nothing


def flux2(tensors: Tensors) -> Tensors:
    """The transformer of FLUX.2."""
    return published_tensors(tensors, original_name)


def chroma(tensors: Tensors) -> Tensors:
    """The transformer of Chroma: that of FLUX.1, but for one network."""
    blocks = {name: tensor for name, tensor in tensors.items() if not name.startswith(APPROXIMATOR)}
    own: Tensors = {}
    for name in tensors.keys() - blocks.keys():
        renamed = name.replace(".weight", ".scale") if ".norms." in name else name
        own[renamed.replace("linear_1", "in_layer").replace("linear_2", "out_layer")] = tensors[name]
    return published_tensors(blocks, flux_1_name) | own


def with_model(tensors: Tensors) -> Tensors:
    return {name if name.startswith("model.") else f"model.{name}": tensor for name, tensor in tensors.items()}


def original_vae(tensors: Tensors, folder: Path) -> Tensors:
    named = original_layout.vae(AutoencoderKL.from_pretrained(folder))
    return {name.removeprefix(original_layout.VAE): tensor for name, tensor in named.items()}


def flux2_vae(tensors: Tensors, folder: Path) -> Tensors:
    """The VAE of FLUX.2: two convolutions are inside encoder and decoder."""
    named = original_layout.vae(AutoencoderKLFlux2.from_pretrained(folder))
    inside = {"quant_conv": "encoder.quant_conv", "post_quant_conv": "decoder.post_quant_conv"}
    found: Tensors = {}
    for name, tensor in named.items():
        layer, _, end = name.removeprefix(original_layout.VAE).rpartition(".")
        found[f"{inside.get(layer, layer)}.{end}"] = tensor
    return found


WAN = {
    "conv_in": "conv1",
    "norm_out": "head.0",
    "conv_out": "head.2",
    "mid_block.resnets.0": "middle.0",
    "mid_block.attentions.0": "middle.1",
    "mid_block.resnets.1": "middle.2",
}
RESIDUAL = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
QUANTISATION = {"quant_conv": "conv1", "post_quant_conv": "conv2"}


def wan_vae(tensors: Tensors, folder: Path) -> Tensors:
    """The VAE of Qwen-Image in the names of Wan, whose blocks of a decoder are counted on through all sizes."""
    return {wan_name(name): tensor for name, tensor in tensors.items()}


def wan_name(name: str) -> str:
    place, _, end = name.rpartition(".")
    if place in QUANTISATION:
        return f"{QUANTISATION[place]}.{end}"
    side, _, rest = place.partition(".")
    for ours, theirs in WAN.items():
        if rest == ours or rest.startswith(f"{ours}."):
            rest = theirs + rest.removeprefix(ours)
    rest = re.sub(r"\Adown_blocks\.", "downsamples.", rest)
    rest = re.sub(r"\Aup_blocks\.(\d)\.resnets\.(\d)", lambda at: f"upsamples.{4 * int(at[1]) + int(at[2])}", rest)
    rest = re.sub(r"\Aup_blocks\.(\d)\.upsamplers\.0", lambda at: f"upsamples.{4 * int(at[1]) + 3}", rest)
    if not rest.startswith(("conv", "head")):
        rest = re.sub(r"(norm|conv)[12]\Z", lambda at: RESIDUAL[at[0]], rest)
    return f"{side}.{rest.replace('conv_shortcut', 'shortcut')}.{end}"


@dataclass(frozen=True, slots=True)
class Split:
    """How a family's files are named, and their tensors."""

    files: dict[str, str]
    """Component -> place in the models folder of ComfyUI."""
    transformer: Callable[[Tensors], Tensors]
    text_encoder: Callable[[Tensors], Tensors]
    vae: Callable[[Tensors, Path], Tensors]
    block: str
    """In the names of the text encoder's matrices that are quantised."""
    transformer_block: str
    """In those of the transformer's."""
    label: str
    """The text encoder in a sentence."""
    prefix: str
    """Of the names of its tensors in a file with several components."""
    vae_label: str
    """The VAE in a sentence."""
    missing: str
    """A tensor of the transformer's file."""
    missing_of_vae: str
    """A tensor of the VAE's file."""

    def path(self, folder: Path, component: str) -> Path:
        return folder / f"{self.files[component]}.safetensors"


SPLITS = {
    "chroma": Split(
        {
            "transformer": "diffusion_models/Chroma1-HD",
            "text_encoder": "text_encoders/t5xxl_fp16",
            "vae": "vae/ae",
        },
        chroma,
        lambda tensors: tensors,
        original_vae,
        block="block.",
        label="T5-XXL",
        prefix="text_encoders.t5xxl.transformer.",
        vae_label="the VAE",
        transformer_block="_blocks.",
        missing_of_vae="decoder.conv_out.bias",
        missing="single_blocks.1.linear2.weight",
    ),
    "flux2-klein": Split(
        {
            "transformer": "diffusion_models/flux-2-klein-base-4b",
            "text_encoder": "text_encoders/qwen_3_4b",
            "vae": "vae/flux2-vae",
        },
        flux2,
        lambda tensors: tensors,
        flux2_vae,
        block="layers.",
        label="Qwen3-4B",
        prefix="text_encoders.qwen3_4b.transformer.",
        missing_of_vae="decoder.post_quant_conv.bias",
        missing="single_blocks.1.linear2.weight",
        vae_label="the VAE of FLUX.2",
        transformer_block="_blocks.",
    ),
    "qwen-image": Split(
        {
            "transformer": "diffusion_models/qwen_image_bf16",
            "text_encoder": "text_encoders/qwen_2.5_vl_7b",
            "vae": "vae/qwen_image_vae",
        },
        lambda tensors: tensors,
        lambda tensors: tensors,
        wan_vae,
        block="layers.",
        label="Qwen2.5-VL-7B",
        prefix="text_encoders.qwen25_7b.transformer.",
        missing_of_vae="decoder.head.2.bias",
        missing="transformer_blocks.1.img_mlp.net.2.weight",
        vae_label="the VAE of Qwen-Image",
        transformer_block="transformer_blocks.",
    ),
    "z-image": Split(
        {
            "transformer": "diffusion_models/z_image_turbo_bf16",
            "text_encoder": "text_encoders/qwen_3_4b",
            "vae": "vae/ae",
        },
        z_image,
        with_model,
        original_vae,
        block="layers.",
        label="Qwen3-4B",
        prefix="text_encoders.qwen3_4b.transformer.",
        vae_label="the VAE",
        transformer_block="layers.",
        missing_of_vae="decoder.conv_out.bias",
        missing="layers.1.feed_forward.w2.weight",
    ),
}


def save(path: Path, tensors: Tensors) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)


def write(family: str, whole: Path, folder: Path) -> Split:
    """Write the files of a model in diffusers' layout into a models folder of ComfyUI."""
    split = SPLITS[family]
    found = {name: load_file(whole / name / f"{file}.safetensors") for name, file in WEIGHTS.items()}
    save(split.path(folder, "transformer"), split.transformer(found["transformer"]))
    save(split.path(folder, "text_encoder"), split.text_encoder(found["text_encoder"]))
    save(split.path(folder, "vae"), split.vae(found["vae"], whole / "vae"))
    return split


def added(family: str, origin: Path, *parts: Path, config: Path | None = None) -> InferenceModel:
    """Add a model, named mine, from a file and those of its other components, or a folder that has them."""
    options = [f"--family={family}", f"--from={origin}", *(f"--part={part}" for part in parts)]
    options += [f"--config={config}"] if config else []
    call_command("add_model", "mine", *options, stdout=StringIO())
    return InferenceModel.objects.get(slug="mine")


def added_files(family: str, split: Split, folder: Path) -> InferenceModel:
    return added(family, *(split.path(folder, component) for component in COMPONENTS))


def publish(family: str, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the published configurations of text encoder, tokenizer and VAE be those of a model."""

    def write_components(name: str, folder: Path, names: Container[str]) -> None:
        for part in whole.iterdir():
            if part.is_dir() and part.name in names:
                unweighed = shutil.ignore_patterns("*.safetensors")
                shutil.copytree(part, folder / part.name, dirs_exist_ok=True, ignore=unweighed)

    monkeypatch.setattr(configurations, "write_components", write_components)
    parts: dict[str, Any] = {
        f"{path.parent.name}/{path.name}": json.loads(path.read_text()) for path in whole.glob("*/config.json")
    }
    published, known = configurations.files_of, component_file_class(family)
    assert known is not None
    assert issubclass(known, TransformerFile)
    own = {name for other in known.components.values() for name in other.labels}
    monkeypatch.setattr(configurations, "files_of", lambda name: {**published(name), **(parts if name in own else {})})
    if family == "chroma":
        allow_tiny_chroma(monkeypatch)
    encoder = KnownFile("a tiny text encoder", (r"embed_tokens\.weight\Z",), reason=TAKEN)
    monkeypatch.setattr(known_files, "KNOWN_FILES", (encoder, *KNOWN_FILES))


def allow_tiny_chroma(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the check and diffusers' conversion, which are written for the published width, take the tiny model's."""
    name, width, axes = "convert_chroma_transformer_checkpoint_to_diffusers", 32, [4, 14, 14]
    source = inspect.getsource(getattr(single_file_utils, name))
    assert "inner_dim = 3072" in source
    names = dict(vars(single_file_utils))
    exec(source.replace("inner_dim = 3072", f"inner_dim = {width}"), names)  # noqa: S102 - diffusers' own source
    loadable = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["ChromaTransformer2DModel"]
    monkeypatch.setitem(loadable, "checkpoint_mapping_fn", names[name])
    for constant, value in (("WIDTH", width), ("HEAD_WIDTH", width), ("ROPE_AXES", axes)):
        monkeypatch.setattr(flux_transformer, constant, value)


def fp8(tensors: Tensors, block: str, *, is_scaled: bool, scale_name: str = "scale_weight") -> Tensors:
    """Store the matrices of the blocks as fp8, with their scales as ComfyUI does where `is_scaled`."""
    stored: Tensors = {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)} if is_scaled else {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or block not in name or not name.endswith(".weight"):
            stored[name] = tensor
            continue
        scale = tensor.abs().max() / 448 if is_scaled else torch.tensor(1.0)
        stored[name] = (tensor / scale).to(torch.float8_e4m3fn)
        if is_scaled:
            stored[f"{name.removesuffix('weight')}{scale_name}"] = scale
    return stored
