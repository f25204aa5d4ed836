"""The first request of a process: python -m benchmarks.diffusion.first_request FOLDER DEVICE SIDE ours|plain

Prints one JSON object with the seconds of loading, the first and the second request.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionInpaintPipeline

from benchmarks.diffusion.models import plain_job, request, spec_of
from benchmarks.diffusion.serving import ignore
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.device_watchdog import LOADING_SECONDS
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device import hardware


def main(folder: str, device: str, side: str, who: str) -> None:
    wanted, chosen = request(int(side), steps=2), hardware.choose(device)
    started = time.perf_counter()
    paint: Callable[[], Any]
    if who == "ours":
        spec = spec_of("sd", int(side), Path(folder))
        batcher = Batcher(ModelCache(chosen, 10**12))
        batcher.warm(spec)
        while batcher.cache.loaded(spec) is None or not batcher.is_idle:
            if batcher.early_failures or time.perf_counter() - started > LOADING_SECONDS:
                sys.exit(f"The model is not loaded: {batcher.early_failures.get(spec.slug, 'it takes too long.')}")
            time.sleep(0.01)

        def paint() -> Any:
            return batcher.paint(wanted, spec, ignore)
    else:
        pipeline = StableDiffusionInpaintPipeline.from_pretrained(
            folder, torch_dtype=chosen.dtype, local_files_only=True, safety_checker=None, image_encoder=None
        ).to(chosen.device)
        pipeline.set_progress_bar_config(disable=True)

        def paint() -> Any:
            return plain_job(pipeline, wanted)

    times = {"loading": time.perf_counter() - started}
    for name in ("first", "second"):
        started = time.perf_counter()
        paint()
        chosen.synchronize()
        times[name] = time.perf_counter() - started
    print(json.dumps(times), flush=True)
    os._exit(0)  # the end of Python would stop the device's thread inside torch, which aborts the process


if __name__ == "__main__":
    main(*sys.argv[1:])
