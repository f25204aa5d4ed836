"""Bodies of the ModelsLab API, and answers to them."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray

from inpainting import tasks
from inpainting.core.codecs import decode_image

INPAINT, FETCH = "/api/v6/images/inpaint", "/api/v6/images/fetch"
VALUES: dict[str, Any] = {
    "model_id": "tiny-other",
    "init_image": "OTHER IMAGE",
    "mask_image": "OTHER MASK",
    "prompt": "an orange cat",
    "negative_prompt": "grass",
    "enhance_prompt": "no",
    "width": "320",
    "height": 320,
    "samples": "2",
    "num_inference_steps": 5,
    "steps": "4",
    "safety_checker": "yes",
    "safety_checker_type": "pixelate",
    "seed": "8",
    "guidance_scale": "3",
    "strength": "0.4",
    "scheduler": "HeunDiscreteScheduler",
    "use_karras_sigmas": "no",
    "algorithm_type": "dpmsolver+++",
    "clip_skip": "1",
    "vae": "soft",
    "lora_model": "ink",
    "lora_strength": "0.4",
    "ip_adapter_id": "ip-adapter_sd15",
    "ip_adapter_scale": "0.5",
    "ip_adapter_image": "OTHER IMAGE",
    "base64": "true",
    "temp": "yes",
    "webhook": "https://203.0.114.9/told",
    "track_id": "mine",
}
"""Field -> a value that differs from what the others have."""
NEEDED: dict[str, dict[str, Any]] = {
    "safety_checker_type": {"safety_checker": "yes"},
    "lora_strength": {"lora_model": "ink"},
    "ip_adapter_id": {"ip_adapter_image": "IMAGE"},
    "ip_adapter_image": {"ip_adapter_id": "ip-adapter_sd15", "ip_adapter_image": "IMAGE"},
    "ip_adapter_scale": {"ip_adapter_id": "ip-adapter_sd15", "ip_adapter_image": "IMAGE"},
}
"""Further fields that a field needs to have an effect."""
REFUSED: list[tuple[str, Any, str]] = [
    ("model_id", "unknown", "Model not found: unknown"),
    ("prompt", 5, "prompt: Not a valid string."),
    ("prompt", "x" * 10_001, "prompt has 10001 characters; at most 10000 are allowed."),
    ("negative_prompt", ["a"], "negative_prompt: Not a valid string."),
    ("enhance_prompt", "maybe", "enhance_prompt: Must be a valid boolean."),
    ("width", "255", "width must be between 256 and 1024"),
    ("width", 1025, "width must be between 256 and 1024"),
    ("height", "abc", "height: A valid integer is required."),
    ("height", True, "height: A valid integer is required."),
    ("height", 512.5, "height: A valid integer is required."),
    ("samples", "5", "samples must be between 1 and 4"),
    ("samples", 0, "samples must be between 1 and 4"),
    ("num_inference_steps", "0", "num_inference_steps must be at least 1"),
    ("steps", -1, "num_inference_steps must be at least 1"),
    ("safety_checker", 2, "safety_checker: Must be a valid boolean."),
    ("safety_checker_type", "hide", "safety_checker_type: It must be one of "),
    ("seed", "abc", "seed: A valid integer is required."),
    ("seed", 2**63, "seed is 9223372036854775808; "),
    ("guidance_scale", "0.5", "guidance_scale must be between 1 and 20"),
    ("guidance_scale", "NaN", "guidance_scale: A valid number is required."),
    ("strength", 1.1, "strength must be between 0 and 1"),
    ("scheduler", "Euler a", "scheduler: It must be one of DDPMScheduler, "),
    ("use_karras_sigmas", {}, "use_karras_sigmas: Must be a valid boolean."),
    ("algorithm_type", "sde", "algorithm_type: It must be one of "),
    ("clip_skip", 9, "clip_skip must be between 1 and 8"),
    ("vae", "soft,unknown", "VAE not found: unknown"),
    ("vae", "taesd", "VAE not found: taesd"),
    ("lora_model", "ink,yae-miko-genshin", "LoRA not found: yae-miko-genshin"),
    ("lora_strength", "much", "lora_strength must be numbers, separated by commas"),
    ("lora_strength", "1.5", "lora_strength must be between 0.1 and 1"),
    ("ip_adapter_id", "face", "ip_adapter_id: It must be one of "),
    ("ip_adapter_id", "ip-adapter_sdxl", "IP-Adapter not found: ip-adapter_sdxl"),
    ("ip_adapter_id", "ip-adapter_sd15", "ip_adapter_image is required"),
    ("ip_adapter_scale", 1.5, "ip_adapter_scale must be between 0 and 1"),
    ("ip_adapter_image", 5, "ip_adapter_image: It must be a URL or base64."),
    ("base64", "inline", "base64: Must be a valid boolean."),
    ("temp", [], "temp: Must be a valid boolean."),
    ("webhook", "ftp://example.com/", "webhook must be an http or https URL of a public address"),
    ("track_id", {}, "track_id: It must be a text or a number."),
    ("track_id", 10**255, "track_id has 256 characters; at most 255 are allowed."),
]
"""Field, a value that is refused, and the beginning of the message."""


def encoded(png: bytes) -> str:
    return base64.b64encode(png).decode()


def white_repaints(hole: NDArray[np.uint8]) -> bytes:
    """A PNG in the polarity of this API: white is repainted."""
    done, data = cv2.imencode(".png", hole)
    assert done
    return data.tobytes()


def post(path: str, body: Any, **headers: str) -> Any:
    return Client(headers=headers).post(path, body, content_type="application/json")


def success(body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Post a request that must be painted at once; return its answer."""
    answer = post(INPAINT, body, **headers)
    content: dict[str, Any] = answer.json()
    assert (answer.status_code, content["status"]) == (200, "success"), content
    return content


def error(answer: Any, status: int) -> str:
    """Check that the answer has the shape of an error; return its message."""
    assert answer.status_code == status, answer.content
    content = answer.json()
    assert content["status"] == "error"
    assert content["message"] == content["messege"] != ""
    return str(content["message"])


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode_image(png).image.pixels)


def keep_waiting(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Let requests be answered with `processing`; `run_waiting` paints them."""
    settings.MODELSLAB_WAIT_SECONDS = 0.0
    monkeypatch.setattr(tasks.run_waiting, "apply_async", lambda *arguments, **options: None)


def names_of(links: list[str]) -> list[str]:
    """The file names of links; the time at which a link expires is in it as well."""
    return [link.rpartition("/")[2] for link in links]
