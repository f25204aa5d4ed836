"""Calls AUTOMATIC1111's API with webuiapi, as its users do, and prints what each call found as JSON.

Arguments: the address of the server, an API key, and a folder with `photo.png` and `mask.png`, for the results too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import webuiapi
from PIL import Image

address, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
photo, mask = Image.open(folder / "photo.png"), Image.open(folder / "mask.png")
api = webuiapi.WebUIApi(baseurl=f"{address}/sdapi/v1")
api.set_auth("api", key)


def saved(name: str, result: Any) -> list[str]:
    files = []
    for index, image in enumerate(result.images):
        files.append(f"{name}-{index}.png")
        image.save(folder / files[-1])
    return files


def inpaint(**more: Any) -> Any:
    size = {"width": photo.width, "height": photo.height}
    return api.img2img(images=[photo], mask_image=mask, prompt="a lawn", seed=5, **size, **more)


def parameters() -> Any:
    info = api.png_info(inpaint().image)
    return [info.info, info.parameters["Seed"]]


def set_model() -> str:
    api.set_options({"CLIP_stop_at_last_layers": 2})
    return str(api.get_options()["CLIP_stop_at_last_layers"])


CALLS: dict[str, Callable[[], Any]] = {
    "inpaint": lambda: saved("inpaint", inpaint(mask_blur=0)),
    "inverted": lambda: saved("inverted", inpaint(inpainting_mask_invert=1, mask_blur=0)),
    "two": lambda: saved("two", inpaint(batch_size=2)),
    "upscale": lambda: saved("upscale", api.extra_single_image(photo, upscaler_1="Lanczos")),
    "parameters": parameters,
    "caption": lambda: api.interrogate(photo).info,
    "options": set_model,
    "progress": lambda: api.get_progress()["state"]["job_count"],
    "interrupt": api.interrupt,
    "samplers": lambda: api.util_get_sampler_names(),
    "schedulers": lambda: api.util_get_scheduler_names(),
    "upscalers": lambda: [upscaler["name"] for upscaler in api.get_upscalers()],
    "models": lambda: api.util_get_model_names(),
    "loras": api.get_loras,
    "embeddings": api.get_embeddings,
    "memory": api.get_memory,
    "controlnets": api.controlnet_model_list,
    "modules": api.controlnet_module_list,
    "text": lambda: saved("text", api.txt2img(prompt="a lawn")),
    "sampler": lambda: saved("sampler", inpaint(sampler_name="Magic")),
}


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except RuntimeError as error:
        return {"status": error.args[0], "body": json.loads(error.args[1])}


print(json.dumps({name: outcome(call) for name, call in CALLS.items()}))
