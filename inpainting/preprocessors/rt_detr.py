"""Boxes of people by RT-DETR. torch is imported with the first model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.catalog.specs import ModelSpec

PERSON = 0
"""The class of people among those of COCO that detectors number, as the published models count them."""
MIN_SCORE = 0.5
"""The lowest score of a box, as in DWPose (Z. Yang et al., ICCV Workshops 2023) and transformers' post-processing."""


@dataclass(frozen=True, slots=True)
class RTDetr:
    def load(self, spec: ModelSpec, path: Path) -> Any:
        """The model and its processor. Raises EngineFailed: `model_refused`, `model_unavailable`."""
        from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

        from inpainting.networks.transformers_models import load_model, load_processor

        return load_model(spec, path), load_processor(spec, RTDetrImageProcessorPil, path)

    def people(self, loaded: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Boxes of the people in RGB [height, width, 3], the likeliest first: [people, 4] of left, top, width, height.

        In pixels, as COCO states boxes; they may reach beyond the image.
        """
        from inpainting.networks.transformers_models import run_model

        model, processor = loaded
        image = Image.fromarray(pixels)
        inputs = processor(images=image, return_tensors="pt", input_data_format="channels_last")
        output = run_model(model, model, **inputs)
        (found,) = processor.post_process_object_detection(output, MIN_SCORE, [pixels.shape[:2]])
        boxes: NDArray[np.float32] = found["boxes"][found["labels"] == PERSON].numpy()
        boxes[:, 2:] -= boxes[:, :2]
        return boxes[(boxes[:, 2:] > 0).all(axis=1)]


RT_DETR = RTDetr()
