"""The safety checker: diffusers' StableDiffusionSafetyChecker.

It runs on the CPU and in float32 whichever device paints: images of engines without a device are checked too, and an
image gets the same answer on every machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import transformers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from numpy.typing import NDArray
from PIL import Image

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.transformers_folder import PREPROCESSOR
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.specs import ModelSpec, install_hint
from inpainting.core.errors import EngineFailed
from inpainting.core.moderation.policy import UNAVAILABLE
from inpainting.core.sentences import sentence
from inpainting.families.safety_checker.files import variant_in
from inpainting.keepalive import run_in_thread
from inpainting.networks.load_lock import serialize
from inpainting.networks.network_cache import network_cache
from inpainting.networks.unreadable_files import READ_ERRORS, unreadable

transformers.utils.logging.disable_progress_bar()
# Its warning says that a black image is returned, which is not so here.
logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker").setLevel(logging.ERROR)

BATCH_SIZE = 4
"""Images in one call."""


class SafetyChecker:
    """One checker. Its answers are those of diffusers' pipelines with the same weights."""

    def __init__(self, model: StableDiffusionSafetyChecker, processor: transformers.BaseImageProcessor) -> None:
        self.model = model
        self.processor = processor

    def check(self, images: Sequence[NDArray[np.uint8]]) -> list[bool]:
        """For each RGB image [height, width, 3] whether its centre square is flagged."""
        clip_input = self.processor([Image.fromarray(image) for image in images], return_tensors="pt").pixel_values
        # It blackens the flagged ones of `images` in place: these arrays stand in for them.
        _, flags = self.model(images=[np.zeros(1) for _ in images], clip_input=clip_input)
        return [bool(flag) for flag in flags]

    def flags_any(self, images: Iterable[NDArray[np.uint8]], keepalive: Callable[[], None]) -> bool:
        """Whether any image is flagged. Raises EngineFailed, and what `keepalive` raises."""
        rest = iter(images)
        batches = iter(lambda: list(islice(rest, BATCH_SIZE)), [])  # at most one batch in memory
        return any(any(run_in_thread(partial(self.check, batch), keepalive)) for batch in batches)


def loaded(spec: ModelSpec) -> SafetyChecker:
    """The checker in memory. Raises EngineFailed, `safety_checker_unavailable`, if it cannot be loaded."""
    if spec.path is None or not (spec.path / PREPROCESSOR).is_file():
        raise EngineFailed(install_hint(spec.slug, spec.label), code=UNAVAILABLE)
    checker: SafetyChecker = network_cache.get(load, spec, spec.path)
    return checker


@serialize
def load(spec: ModelSpec, folder: Path) -> SafetyChecker:
    """Check a safety checker's files and load them. Raises EngineFailed, `safety_checker_unavailable`.

    One with a missing weight or a number that is not finite is not used: it would flag nothing.
    """
    try:
        check_model(folder, spec.family)
        model, loading_info = StableDiffusionSafetyChecker.from_pretrained(
            folder,
            variant=variant_in([path.name for path in folder.iterdir()]) or None,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
        processor = transformers.CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        missing = sorted([*loading_info["missing_keys"], *map(str, loading_info["mismatched_keys"])])
        if missing:
            raise ModelRefused(sentence("it lacks {missing}.", missing=missing[0]))
        if not all(torch.isfinite(tensor).all() for tensor in model.state_dict().values()):
            raise ModelRefused(sentence("it holds numbers that are not finite."))
    except (EngineFailed, *READ_ERRORS) as error:
        raise unreadable(sentence("The safety checker"), folder, error, UNAVAILABLE) from error
    return SafetyChecker(model.eval(), processor)
