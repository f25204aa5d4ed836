"""Image encoders of IP-Adapters as files of their own (CLIP-ViT-H, SigLIP), as ComfyUI and Forge keep them.

An adapter was trained with one of them, which the shape of its projection tells. The configurations are those
of huggingface.co/h94/IP-Adapter, in folders `image_encoder`, and of huggingface.co/google/siglip-so400m-patch14-384.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.adapter_files import ENCODER_CLASS, check_face_id
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.formats.tensor_slice import TensorSlice
from inpainting.core.sentences import sentence

PATCHES = "vision_model.embeddings.patch_embedding.weight"
VISION = ("vision_model.", "visual_projection.")
"""Beginnings of the names of an image encoder's tensors. A file of a whole CLIP holds others too."""
PROJECTION = "visual_projection.weight"
POSITIONS = "vision_model.embeddings.position_embedding.weight"
CLIP = {
    "architectures": [ENCODER_CLASS],
    "model_type": "clip_vision_model",
    "attention_dropout": 0.0,
    "hidden_act": "gelu",
    "image_size": 224,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "num_attention_heads": 16,
    "num_channels": 3,
    "patch_size": 14,
}
ENCODERS: dict[str, dict[str, Any]] = {
    "CLIP-ViT-H": {
        **CLIP,
        **{"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "projection_dim": 1024},
    },
    "CLIP-ViT-bigG": {
        **CLIP,
        **{"hidden_size": 1664, "intermediate_size": 8192, "num_hidden_layers": 48, "projection_dim": 1280},
    },
    "SigLIP-SO400M": {
        "architectures": ["SiglipVisionModel"],
        "model_type": "siglip_vision_model",
        "attention_dropout": 0.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "image_size": 384,
        "intermediate_size": 4304,
        "layer_norm_eps": 1e-06,
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 27,
        "patch_size": 14,
    },
}
EMBEDDING = "projection_dim"
PATCH_FEATURES = "hidden_size"
PROJECTIONS = {
    "image_proj.proj.weight": EMBEDDING,
    "image_proj.proj_in.weight": PATCH_FEATURES,
    "image_proj.proj.0.weight": PATCH_FEATURES,
    "redux_up.weight": PATCH_FEATURES,
}
"""The first layer of an adapter -> which features of the encoder it takes: of the whole image (plain adapters), or of
its patches (plus and full ones, and those of a transformer)."""


def encoder_of(header: Mapping[str, Any]) -> str:
    """Return the name of the image encoder in a file, one of ENCODERS; "" for another file."""
    patches, projection, positions = (
        header.get(name, {}).get("shape") or [0] for name in (PATCHES, PROJECTION, POSITIONS)
    )
    if len(patches) != 4:
        return ""
    for name, known in ENCODERS.items():
        is_as_wide = (patches[0], patches[2]) == (known[PATCH_FEATURES], known["patch_size"])
        # SigLIP projects nothing, and has a position for each patch alone.
        patch_count = (known["image_size"] // known["patch_size"]) ** 2
        is_same = projection[0] == known[EMBEDDING] if EMBEDDING in known else positions[0] == patch_count
        if is_as_wide and is_same:
            return name
    return ""


def is_image_encoder(header: Mapping[str, Any]) -> bool:
    """Whether a file holds an image encoder of whatever kind, and is no larger network."""
    return PATCHES in header and all(name.startswith((*VISION, "text_", "logit_")) for name in header)


def needed_encoder(header: Mapping[str, Any], file: str) -> str:
    """Return which of ENCODERS an IP-Adapter needs. Raises ModelRefused for one that needs another network."""
    check_face_id(header, file)
    for tensor, features in PROJECTIONS.items():
        shape = header.get(tensor, {}).get("shape") or [0]
        for name, known in ENCODERS.items():
            if known.get(features) == shape[-1]:
                return name
    raise ModelRefused(sentence("{file} is an IP-Adapter for an image encoder that is not supported.", file=file))


def encoder_file(adapter: Path, parts: Iterable[Path]) -> Path:
    """Return the file among `parts` with the image encoder that an IP-Adapter needs. Raises ModelRefused for none."""
    needed = needed_encoder(read_header(adapter), adapter.name)
    for part in parts:
        if not part.is_file():
            raise ModelRefused(sentence("There is no file {file}.", file=part))
        header = read_header(part)
        if encoder_of(header) == needed:
            check_numbers(header, part.name)
            return part
    raise ModelRefused(
        sentence(
            "{file} is an IP-Adapter for the image encoder {needed}, which is not beside it: "
            "name its .safetensors file, as other programs have it in clip_vision, with --part "
            "FILE.",
            file=adapter.name,
            needed=needed,
        )
    )


def configuration(encoder: Path) -> dict[str, Any]:
    """Return the published configuration of an image encoder's file."""
    return ENCODERS[encoder_of(read_header(encoder))]


def weights(encoder: Path) -> Path | TensorSlice:
    """Return the tensors of a file that are an image encoder's."""
    header = read_header(encoder)
    names = [name for name in header if name.startswith(VISION)]
    return encoder if len(names) == len(header) else TensorSlice(encoder, {name: name for name in names}, header)
