"""Headers of published files: the names, types and shapes of their tensors, made from a few patterns of layers.

The sizes are those of the publishers' own files. A file that is written from such a header has no numbers on the disk:
it is sparse.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from inpainting.catalog.inspection.formats.safetensors_header import TYPE_BITS

Shape = tuple[int, ...]
Tensors = dict[str, tuple[str, Shape]]
"""Name -> type and shape."""


def write_sparse(path: Path, tensors: Mapping[str, tuple[str, Shape]], notes: Mapping[str, str] | None = None) -> Path:
    """Write a safetensors file of zeros that take no space. notes: the metadata of its header."""
    header: dict[str, object] = {"__metadata__": dict(notes)} if notes else {}
    at = 0
    for name, (dtype, shape) in tensors.items():
        end = at + TYPE_BITS[dtype] * math.prod(shape) // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    return path


def write_gguf(path: Path, found: Tensors) -> Path:
    """Write a GGUF file of zeros, which take no space, in `Q8_0`, or in float16 where rows are no whole blocks of 32.

    found: the tensors, whose types are not read.
    """
    text, at = struct.pack("<4sIQQ", b"GGUF", 3, len(found), 0), 0
    for name, (_, shape) in found.items():
        text += struct.pack("<Q", len(name)) + name.encode()
        is_quantised = shape[-1] % 32 == 0
        text += struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), 8 if is_quantised else 1, at)
        at += math.prod(shape) // 32 * 34 if is_quantised else math.prod(shape) * 2
        at += -at % 32
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(text)
        file.truncate(len(text) + -len(text) % 32 + at)
    return path


def tensors(shapes: Mapping[str, Shape], dtype: str = "BF16", *, prefix: str = "") -> Tensors:
    return {prefix + name: (dtype, shape) for name, shape in shapes.items()}


def weights(layers: Mapping[str, Shape], dtype: str = "BF16", *, prefix: str = "") -> Tensors:
    """The weights of layers, [outputs, inputs] each."""
    return tensors({f"{name}.weight": shape for name, shape in layers.items()}, dtype, prefix=prefix)


def blocks(prefix: str, count: int, layers: Mapping[str, Shape]) -> dict[str, Shape]:
    return {f"{prefix}.{number}.{name}": shape for number in range(count) for name, shape in layers.items()}


def scaled(found: Tensors) -> Tensors:
    """Weights of two dimensions in scaled fp8, as ComfyUI saves them."""
    out: Tensors = {"scaled_fp8": ("F8_E4M3", (0,))}
    for name, (dtype, shape) in found.items():
        is_matrix = name.endswith(".weight") and len(shape) == 2
        out[name] = ("F8_E4M3" if is_matrix else dtype, shape)
        if is_matrix:
            out[name.removesuffix("weight") + "scale_weight"] = ("F32", ())
    return out


def nvfp4(found: Tensors) -> Tensors:
    """Weights of two dimensions in nvfp4: two numbers in a byte, a scale for each 16, and one for all."""
    out: Tensors = {}
    for name, (dtype, shape) in found.items():
        if not name.endswith(".weight") or len(shape) != 2:
            out[name] = (dtype, shape)
            continue
        out[name] = ("U8", (shape[0], shape[1] // 2))
        out[f"{name}_scale"] = ("F8_E4M3", (shape[0], shape[1] // 16))
        out[f"{name}_scale_2"] = ("F32", ())
    return out


# Stable Diffusion


def unet(features: int, channels: int = 4, *, prefix: str = "model.diffusion_model.", dtype: str = "F16") -> Tensors:
    """A UNet in the original layout: the first blocks, which tell one from another."""
    attention = {"attn1.to_k": (320, 320), "attn2.to_k": (640, features), "attn2.to_v": (640, features)}
    found = weights(blocks("input_blocks.4.1.transformer_blocks", 2 if features == 2048 else 1, attention), dtype)
    found["input_blocks.0.0.weight"] = (dtype, (320, channels, 3, 3))
    return {prefix + name: tensor for name, tensor in found.items()}


def vae(channels: int = 4, *, prefix: str = "first_stage_model.", dtype: str = "F16") -> Tensors:
    """A VAE in the original layout, as Stable Diffusion, FLUX.1 and others have it."""
    shapes: dict[str, Shape] = {
        "encoder.conv_in.weight": (128, 3, 3, 3),
        "decoder.conv_in.weight": (512, channels, 3, 3),
    }
    return tensors(shapes | {"decoder.mid.block_1.norm1.weight": (512,)}, dtype, prefix=prefix)


def clip_text(width: int = 768, *, prefix: str = "", dtype: str = "F16") -> Tensors:
    shapes: dict[str, Shape] = {
        "text_model.embeddings.token_embedding.weight": (49408, width),
        "text_model.encoder.layers.0.self_attn.q_proj.weight": (width, width),
        "text_model.final_layer_norm.weight": (width,),
    }
    return tensors(shapes, dtype, prefix=prefix)


def checkpoint(features: int, channels: int = 4, *, dtype: str = "F16") -> Tensors:
    """A checkpoint of Stable Diffusion 1 (768), 2 (1024), SDXL (2048) or its refiner (1280)."""
    texts = {
        768: clip_text(prefix="cond_stage_model.transformer.", dtype=dtype),
        1024: tensors({"cond_stage_model.model.ln_final.weight": (1024,)}, dtype),
        1280: tensors({"conditioner.embedders.0.model.ln_final.weight": (1280,)}, dtype),
        2048: clip_text(prefix="conditioner.embedders.0.transformer.", dtype=dtype)
        | tensors({"conditioner.embedders.1.model.ln_final.weight": (1280,)}, dtype),
    }
    return unet(features, channels, dtype=dtype) | vae(dtype=dtype) | texts[features]


# Transformers


def flux(
    *, channels: int = 64, has_guidance: bool = True, prefix: str = "", dtype: str = "BF16", width: int = 3072
) -> Tensors:
    """The transformer of FLUX.1: 64 input channels (dev, schnell, Krea, Kontext), 128 (Canny, Depth), 384 (Fill)."""
    inside = {
        **{f"{stream}_attn.qkv": (3 * width, width) for stream in ("img", "txt")},
        **{f"{stream}_mod.lin": (6 * width, width) for stream in ("img", "txt")},
        **{f"{stream}_mlp.0": (4 * width, width) for stream in ("img", "txt")},
    }
    layers = {
        "img_in": (width, channels),
        "txt_in": (width, 4096),
        "time_in.in_layer": (width, 256),
        "vector_in.in_layer": (width, 768),
        "final_layer.linear": (64, width),
        **({"guidance_in.in_layer": (width, 256)} if has_guidance else {}),
        **blocks("double_blocks", 19, inside),
        **blocks("single_blocks", 38, {"linear1": (7 * width, width), "linear2": (width, 5 * width)}),
    }
    norms = {f"double_blocks.{number}.img_attn.norm.query_norm.scale": (128,) for number in range(19)}
    return weights(layers, dtype, prefix=prefix) | tensors(norms, dtype, prefix=prefix)


def chroma(*, dtype: str = "BF16") -> Tensors:
    """FLUX.1's transformer with one network in place of all modulations, time and CLIP."""
    layers = ("time_in.", "vector_in.", "guidance_in.", ".img_mod.", ".txt_mod.")
    found = {name: tensor for name, tensor in flux(dtype=dtype).items() if not any(layer in name for layer in layers)}
    own = {"in_proj": (5120, 64), **blocks("layers", 5, {"in_layer": (5120, 5120), "out_layer": (5120, 5120)})}
    return found | weights(own, dtype, prefix="distilled_guidance_layer.")


def flux_2(
    width: int, double: int, single: int, text: int, *, dtype: str = "BF16", has_guidance: bool = False
) -> Tensors:
    """The transformer of FLUX.2: dev 6144, 8, 48, 15360; klein 4B 3072, 5, 20, 7680; klein 9B 4096, 8, 24, 12288."""
    inside = {
        **{f"{stream}_attn.qkv": (3 * width, width) for stream in ("img", "txt")},
        **{f"{stream}_mlp.0": (6 * width, width) for stream in ("img", "txt")},
        **{f"{stream}_mlp.2": (width, 3 * width) for stream in ("img", "txt")},
    }
    layers = {
        "img_in": (width, 128),
        "txt_in": (width, text),
        "time_in.in_layer": (width, 256),
        **({"guidance_in.in_layer": (width, 256)} if has_guidance else {}),
        "double_stream_modulation_img.lin": (6 * width, width),
        "single_stream_modulation.lin": (3 * width, width),
        "final_layer.linear": (128, width),
        **blocks("double_blocks", double, inside),
        **blocks("single_blocks", single, {"linear1": (9 * width, width), "linear2": (width, 4 * width)}),
    }
    norms = {f"double_blocks.{number}.img_attn.norm.query_norm.scale": (128,) for number in range(double)}
    return weights(layers, dtype) | tensors(norms, dtype)


def z_image(*, prefix: str = "", dtype: str = "BF16") -> Tensors:
    """The transformer of Z-Image in the names of its publisher's code."""
    width = 3840
    inside = {
        "attention.qkv": (3 * width, width),
        "attention.out": (width, width),
        "feed_forward.w1": (10240, width),
        "adaLN_modulation.0": (4 * width, 256),
    }
    refiner = {name: shape for name, shape in inside.items() if "adaLN" not in name}
    layers = {
        "x_embedder": (width, 64),
        "cap_embedder.1": (width, 2560),
        "final_layer.linear": (64, width),
        **blocks("layers", 30, inside),
        **blocks("noise_refiner", 2, inside),
        **blocks("context_refiner", 2, refiner),
    }
    shapes: dict[str, Shape] = {"x_pad_token": (1, width), **blocks("layers", 30, {"attention.q_norm.weight": (128,)})}
    return weights(layers, dtype, prefix=prefix) | tensors(shapes, dtype, prefix=prefix)


def qwen_image(*, prefix: str = "", dtype: str = "BF16", count: int = 60) -> Tensors:
    """The transformer of Qwen-Image, of Qwen-Image-Edit too."""
    width = 3072
    inside = {
        "attn.to_q": (width, width),
        "attn.add_q_proj": (width, width),
        "img_mlp.net.0.proj": (4 * width, width),
        "img_mod.1": (6 * width, width),
        "txt_mod.1": (6 * width, width),
    }
    layers: dict[str, Shape] = {"img_in": (width, 64), "txt_in": (width, 3584), "proj_out": (64, width)}
    layers |= blocks("transformer_blocks", count, inside)
    shapes: dict[str, Shape] = {
        "txt_norm.weight": (3584,),
        **blocks("transformer_blocks", count, {"attn.norm_q.weight": (128,)}),
    }
    return weights(layers, dtype, prefix=prefix) | tensors(shapes, dtype, prefix=prefix)


# LoRAs

DIFFUSERS, KOHYA = ("lora_A.weight", "lora_B.weight"), ("lora_down.weight", "lora_up.weight")


def lora(
    layers: Mapping[str, Shape] | Iterable[tuple[str, Shape]],
    *,
    prefix: str = "transformer.",
    rank: int = 16,
    is_kohya: bool = False,
    dtype: str = "BF16",
) -> Tensors:
    """A LoRA that changes layers of [outputs, inputs]. is_kohya: with underscores, and alphas."""
    down, up = KOHYA if is_kohya else DIFFUSERS
    found: Tensors = {}
    for path, (outputs, inputs) in dict(layers).items():
        stem = prefix + (path.replace(".", "_") if is_kohya else path)
        found[f"{stem}.{down}"] = (dtype, (rank, inputs))
        found[f"{stem}.{up}"] = (dtype, (outputs, rank))
        if is_kohya:
            found[f"{stem}.alpha"] = (dtype, ())
    return found


def lokr(layers: Mapping[str, Shape], *, prefix: str = "lycoris_", factor: int = 16, dtype: str = "BF16") -> Tensors:
    """A LoKr of two whole factors, in the names of LyCORIS."""
    found: Tensors = {}
    for path, (outputs, inputs) in layers.items():
        stem = prefix + path.replace(".", "_")
        found[f"{stem}.lokr_w1"] = (dtype, (factor, factor))
        found[f"{stem}.lokr_w2"] = (dtype, (outputs // factor, inputs // factor))
        found[f"{stem}.alpha"] = (dtype, ())
    return found


def layers_of(found: Tensors, *, containing: str = "") -> dict[str, Shape]:
    """The layers of a network by their names: those whose weights are matrices."""
    return {
        name.removesuffix(".weight"): shape
        for name, (_, shape) in found.items()
        if name.endswith(".weight") and len(shape) == 2 and containing in name
    }
