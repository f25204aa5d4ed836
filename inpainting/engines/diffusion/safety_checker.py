"""The safety checker itself: diffusers' StableDiffusionSafetyChecker, loaded once a process.

On the processor and in float32, wherever pictures are painted: the device belongs to one thread and to what paints,
engines without a device are checked too, and the same picture gets the same answer on every machine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import transformers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from numpy.typing import NDArray
from PIL import Image

from inpainting.catalog.inspection.model_files import PREPROCESSOR, ModelRefused, check_model, flavour_in
from inpainting.catalog.specs import ModelSpec, how_to_get
from inpainting.core.errors import EngineFailed
from inpainting.core.moderation.policy import UNAVAILABLE
from inpainting.engines.diffusion.serving.device_watchdog import LOADING_SECONDS
from inpainting.engines.diffusion.serving.load_lock import serialized

logger = logging.getLogger(__name__)
transformers.utils.logging.disable_progress_bar()
# It would say that a black picture is returned, which is for us to decide.
logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker").setLevel(logging.ERROR)

AT_ONCE = 4
"""Pictures in one call."""
KEEPALIVE_SECONDS = 0.5
"""How often the waiting caller calls `keepalive` while the checker runs."""
PATIENCE_SECONDS = 120.0
"""What takes longer hangs, and must look so."""
LOADING_PATIENCE_SECONDS = LOADING_SECONDS + PATIENCE_SECONDS
"""A model that is being loaded goes first."""

Result = TypeVar("Result")


class SafetyCheckerCache:
    """The loaded one, by its folder; one whose files have changed is loaded anew."""

    def __init__(self) -> None:
        self._loaded: dict[Path, tuple[int, SafetyChecker]] = {}
        self._loading = threading.Lock()

    def get(self, spec: ModelSpec, meanwhile: Callable[[], None]) -> SafetyChecker:
        """Raises EngineFailed (`safety_checker_unavailable`) where it cannot be loaded."""
        return run_in_thread(partial(self._get, spec), meanwhile, seconds=LOADING_PATIENCE_SECONDS)

    def _get(self, spec: ModelSpec) -> SafetyChecker:
        if spec.path is None or not (spec.path / PREPROCESSOR).is_file():
            raise EngineFailed(how_to_get(spec.slug, spec.label), code=UNAVAILABLE)
        with self._loading:
            changed_at = (spec.path / PREPROCESSOR).stat().st_mtime_ns
            known = self._loaded.get(spec.path)
            if known is None or known[0] != changed_at:
                self._loaded.clear()  # more than one is never in use
                known = changed_at, load(spec, spec.path)
                self._loaded[spec.path] = known
        return known[1]


class SafetyChecker:
    """One checker. What it says of a picture is what diffusers' own pipelines say with the same weights."""

    def __init__(self, model: StableDiffusionSafetyChecker, processor: transformers.BaseImageProcessor) -> None:
        self.model = model
        self.processor = processor

    def judge(self, pictures: Sequence[NDArray[np.uint8]]) -> list[bool]:
        """Of each RGB picture [height, width, 3] whether something is found in its middle square."""
        ready = self.processor([Image.fromarray(picture) for picture in pictures], return_tensors="pt").pixel_values
        # It blackens what it is given with what it finds: these stand in for the pictures.
        _, found = self.model(images=[np.zeros(1) for _ in pictures], clip_input=ready)
        return [bool(one) for one in found]

    def finds(self, pictures: Iterable[NDArray[np.uint8]], meanwhile: Callable[[], None]) -> bool:
        """Whether something is found in any of the pictures. Raises EngineFailed, and what `meanwhile` raises."""
        left = iter(pictures)
        parts = iter(lambda: list(islice(left, AT_ONCE)), [])  # no more of them in memory than are looked at
        return any(any(run_in_thread(partial(self.judge, part), meanwhile)) for part in parts)


@serialized
def load(spec: ModelSpec, folder: Path) -> SafetyChecker:
    """Read a checker's files, which are examined first. Raises EngineFailed, `safety_checker_unavailable`.

    One that lacks a weight or holds a number that is none would find nothing in anything: it is not used.
    """
    try:
        check_model(folder, spec.family)
        model, seen = StableDiffusionSafetyChecker.from_pretrained(
            folder,
            variant=flavour_in([path.name for path in folder.iterdir()]) or None,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
        processor = transformers.CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        lacking = sorted([*seen["missing_keys"], *map(str, seen["mismatched_keys"])])
        if lacking:
            raise ModelRefused(f"it lacks {lacking[0]}.")
        if not all(torch.isfinite(tensor).all() for tensor in model.state_dict().values()):
            raise ModelRefused("it holds numbers that are none.")
    except (EngineFailed, OSError, ValueError, RuntimeError, KeyError) as error:
        logger.exception("%s cannot be loaded", spec.slug)
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise EngineFailed(f"The safety checker cannot be loaded: {reason}", code=UNAVAILABLE) from error
    return SafetyChecker(model.eval(), processor)


def run_in_thread(
    work: Callable[[], Result], meanwhile: Callable[[], None], *, seconds: float = PATIENCE_SECONDS
) -> Result:
    """What `work` returns, done on another thread while whoever waits goes on saying, for so long, that it is alive."""
    with ThreadPoolExecutor(1, thread_name_prefix="safety") as thread:
        started, running = time.monotonic(), thread.submit(work)
        while wait([running], timeout=KEEPALIVE_SECONDS).not_done:
            if time.monotonic() - started < seconds:
                meanwhile()
        return running.result()
