"""Calls AUTOMATIC1111's API with webuiapi once for each recorded body, and prints the names of the calls as JSON.

Arguments: the address of the server, an API key, and a folder with `photo.png` and `mask.png`.
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
UNIT = webuiapi.ControlNetUnit(image=photo, module="inpaint_only", model="control_v11p_sd15_inpaint")
UPSCALING = {"upscaler_1": webuiapi.Upscaler.ESRGAN_4x, "upscaling_resize": 2}

CALLS: dict[str, Callable[[], Any]] = {
    "webuiapi_img2img": lambda: api.img2img(
        **{"images": [photo], "mask_image": mask, "prompt": "a", "negative_prompt": "b", "seed": 5, "cfg_scale": 7},
        **{"inpainting_fill": 1, "inpaint_full_res": True, "inpaint_full_res_padding": 32},
        **{"width": photo.width, "height": photo.height},
    ),
    "webuiapi_controlnet": lambda: api.img2img(images=[photo], mask_image=mask, prompt="a", controlnet_units=[UNIT]),
    "webuiapi_txt2img": lambda: api.txt2img(prompt="a"),
    "webuiapi_upscale": lambda: api.extra_single_image(photo, **UPSCALING),
    "webuiapi_batch": lambda: api.extra_batch_images([photo], **UPSCALING),
    "webuiapi_png_info": lambda: api.png_info(photo),
    "webuiapi_interrogate": lambda: api.interrogate(photo),
    "webuiapi_interrupt": api.interrupt,
    "webuiapi_skip": api.skip,
    "webuiapi_options": lambda: api.set_options({"sd_model_checkpoint": "m"}),
    "webuiapi_refresh": api.refresh_checkpoints,
    "webuiapi_detect": lambda: api.controlnet_detect([photo], module="canny"),
}

for call in CALLS.values():
    call()
print(json.dumps(dict.fromkeys(CALLS)))
