"""Depth maps by Depth Anything. torch is imported with the first model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence

MAX_RATIO = 4
"""The largest ratio of the sides: the processor would make a longer image thousands of pixels long, or leave it no
pixel across."""


@dataclass(frozen=True, slots=True)
class DepthAnything:
    def load(self, spec: ModelSpec, path: Path) -> Any:
        """The model and its processor. Raises EngineFailed: `model_refused`, `model_unavailable`."""
        from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

        from inpainting.networks.transformers_models import load_model, load_processor

        return load_model(spec, path), load_processor(spec, DPTImageProcessorPil, path)

    def control_image(self, loaded: Any, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The depth map of RGB [height, width, 3] in the same shape, white what is nearest, black what is farthest.

        Scaled to the whole range as in transformers' pipeline "depth-estimation"; all black where all is equally near.
        Raises EngineFailed, `model_produced_invalid_output`, for numbers that are not finite.
        """
        from inpainting.networks.transformers_models import run_model

        model, processor = loaded
        inputs = processor(images=Image.fromarray(limit_ratio(pixels)), return_tensors="pt")
        output = run_model(model, model, **inputs)
        (found,) = processor.post_process_depth_estimation(output, [pixels.shape[:2]])
        depth = found["predicted_depth"].numpy().reshape(pixels.shape[:2])  # sides of one pixel are left out
        if not np.isfinite(depth).all():
            raise EngineFailed(
                sentence("The depth model returned numbers that are not finite. Send the depth map as control_image."),
                code="model_produced_invalid_output",
            )
        spread = depth.max() - depth.min()
        grey = (255 * (depth - depth.min()) / spread).astype(np.uint8) if spread else np.zeros(depth.shape, np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def limit_ratio(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image, its shorter side scaled up where it is less than 1 / MAX_RATIO of the longer one."""
    height, width = pixels.shape[:2]
    least = -(-max(height, width) // MAX_RATIO)
    size = max(width, least), max(height, least)
    return pixels if size == (width, height) else cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)


DEPTH_ANYTHING = DepthAnything()
