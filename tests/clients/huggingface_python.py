"""Calls the inference API with huggingface_hub, as its users do; see openai_python.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

address, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
photo, mask = folder / "photo.png", folder / "mask.png"


def client(name: str, token: str = key) -> InferenceClient:
    return InferenceClient(model=f"{address}/hf/{name}", token=token)


def written(name: str, image: Any) -> list[str]:
    image.save(folder / f"{name}-0", "png")
    return [f"{name}-0"]


def with_mask(name: str, **parameters: Any) -> list[str]:
    from base64 import b64encode

    mask_image = b64encode(mask.read_bytes()).decode()
    return written(name, client("auto").image_to_image(photo, prompt="", mask_image=mask_image, **parameters))


def segments() -> list[str]:
    return [segment.label for segment in client("image-segmentation").image_segmentation(photo)]


CALLS: dict[str, Callable[[], Any]] = {
    "python_mask": lambda: with_mask("python_mask"),
    "python_every_parameter": lambda: with_mask(
        "python_every_parameter",
        negative_prompt="b",
        num_inference_steps=20,
        guidance_scale=7.5,
        strength=0.7,
        seed=5,
        target_size={"width": 192, "height": 128},
    ),
    "python_image_to_image": lambda: written(
        "python_image_to_image", client("auto").image_to_image(photo, prompt="a lawn")
    ),
    "python_text_to_image": lambda: written(
        "python_text_to_image", client("auto").text_to_image("a cat", width=128, height=64, seed=5)
    ),
    "python_image_to_text": lambda: [client("image-to-text").image_to_text(photo).generated_text],
    "python_segments": segments,
    "python_unknown_model": lambda: written(
        "python_unknown_model", client("no-such-model").image_to_image(photo, prompt="a")
    ),
    "python_wrong_key": lambda: [client("image-to-text", "wrong").image_to_text(photo).generated_text],
}


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except HfHubHTTPError as error:
        return {"status": error.response.status_code, "message": str(error)}


print(json.dumps({name: outcome(call) for name, call in CALLS.items()}))
