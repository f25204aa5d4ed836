"""Request bodies of the native API in its three shapes."""

from __future__ import annotations

import base64
import json
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

# All fields that the published front end sends beside the images, also those without a meaning here.
FRONT_END = {
    "prompt": "a stone path",
    "negative_prompt": "people",
    "denoising_strength": 0.75,
    "model_name": "v1-6-pruned-emaonly-fp16.safetensors",
    "sampler_name": "euler",
    "scheduler": "normal",
    "steps": 20,
    "cfg_scale": 7.0,
    "width": 512,
    "height": 512,
    "batch_size": 1,
    "batch_count": 1,
    "seed": 77,
    "random_seed": True,
    "clip_skip": 1,
    "tiling": False,
    "tile_size": 512,
    "tile_overlap": 64,
    "hires_fix": False,
    "hires_fix_upscale_factor": 2.5,
    "karras_sigmas": False,
    "restore_faces": False,
    "face_restoration_model": "codeformer",
    "codeformer_weight": 0.5,
    "refiner_enabled": False,
    "refiner_model": "none",
    "vae_name": None,
    "custom_workflow": None,
    "lora": None,
    "controlnet": {"enabled": False, "units": [{"weight": 1}]},
}


def upload(data: bytes, *, name: str = "input.png", content_type: str = "image/png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, content_type)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_url(data: bytes) -> str:
    return "data:image/png;base64," + text(data)


def shape_a(image: bytes, mask: bytes, /, **changes: Any) -> dict[str, Any]:
    """A: form fields and files. Numbers come as text."""
    return {"image": upload(image), "mask": upload(mask, name="mask.png"), "prompt": "a stone path", **changes}


def shape_b(image: bytes, mask: bytes, /, **changes: Any) -> dict[str, Any]:
    """B: files, and everything else in `params`."""
    params = json.dumps({**FRONT_END, **changes})
    return {"image": upload(image), "mask": upload(mask, name="mask.png"), "params": params}


def shape_c(image: bytes, mask: bytes, /, **changes: Any) -> dict[str, Any]:
    """C: JSON."""
    return {**FRONT_END, "input_image": data_url(image), "mask": text(mask), **changes}
