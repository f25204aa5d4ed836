"""Loaded Grounding DINO models. Imports torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoTokenizer, GroundingDinoProcessor
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.networks.transformers_models import load_model, load_processor, run_model
from inpainting.segmenters.base import Detection, check_side_ratio


class Detector:
    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        self.model = load_model(spec, folder)
        self.processor = GroundingDinoProcessor(
            load_processor(spec, GroundingDinoImageProcessorPil, folder), load_processor(spec, AutoTokenizer, folder)
        )

    def find(
        self, pixels: NDArray[np.uint8], words: str, detection: Detection
    ) -> list[tuple[float, tuple[float, float, float, float]]]:
        """Score and box (left, top, right, bottom) in pixels of everything in RGB [height, width, 3] that fits.

        Raises InvalidRequest for an image that is too thin.
        """
        check_side_ratio(Size(pixels.shape[1], pixels.shape[0]), self.processor.image_processor.size["longest_edge"])
        text = words.strip().lower().rstrip(".") + "."  # as the network was trained: lower case, ends in a full stop
        inputs = self.processor(
            images=Image.fromarray(pixels), text=text, return_tensors="pt", input_data_format="channels_last"
        )
        output = run_model(self.model, self.model, **inputs)
        found = self.processor.post_process_grounded_object_detection(
            output,
            inputs["input_ids"],
            threshold=detection.box_threshold,
            text_threshold=detection.text_threshold,
            target_sizes=[pixels.shape[:2]],
        )[0]
        return [
            (float(score), (box[0], box[1], box[2], box[3]))
            for score, box in zip(found["scores"].tolist(), found["boxes"].tolist(), strict=True)
        ]
