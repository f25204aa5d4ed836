"""Skeletons of the people that RT-DETR finds, by ViTPose. torch is imported with the first model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.preprocessors.rt_detr import RT_DETR
from inpainting.preprocessors.skeletons import COCO_POINTS, drawn, openpose_points

MIN_SCORE = 0.3
"""The lowest score of a key point, as in DWPose (Z. Yang et al., ICCV Workshops 2023)."""
MAX_PEOPLE = 20
"""The likeliest ones. ViTPose computes each apart."""
MIN_SIDE = 4
"""The shortest side of an image, in pixels; transformers mistakes the rows of a smaller one for its channels."""
COCO = 0
"""The data set whose key points a ViTPose+ is asked for; others have one alone."""


@dataclass(frozen=True, slots=True)
class VitPose:
    def load(self, spec: ModelSpec, path: Path) -> Any:
        """The model and its processor. Raises EngineFailed: `model_refused`, `model_unavailable`."""
        from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

        from inpainting.networks.transformers_models import load_model, load_processor

        model, processor = load_model(spec, path), load_processor(spec, VitPoseImageProcessorPil, path)
        if model.config.num_labels != COCO_POINTS:
            raise EngineFailed(
                sentence(
                    "The model {label} finds {num_labels} key points; a skeleton is drawn of COCO's {coco_points}.",
                    label=spec.label,
                    num_labels=model.config.num_labels,
                    coco_points=COCO_POINTS,
                ),
                code="model_refused",
            )
        return model, processor

    def control_image(self, loaded: Any, pixels: NDArray[np.uint8], detector: Any) -> NDArray[np.uint8]:
        """The skeletons of the people in RGB [height, width, 3], in the same shape, as OpenPose draws them.

        detector: a loaded model of the family rt-detr.
        Raises EngineFailed, `control_image_missing`, where nobody is found.
        """
        boxes = RT_DETR.people(detector, pixels)[:MAX_PEOPLE]
        people = self.people(loaded, pixels, boxes) if len(boxes) and min(pixels.shape[:2]) >= MIN_SIDE else []
        if not np.isfinite(people).any():
            raise EngineFailed(
                sentence("Nobody was found in the image: send the pose as control_image."), code="control_image_missing"
            )
        return drawn(people, *pixels.shape[:2])

    def people(self, loaded: Any, pixels: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """OpenPose's key points of the person in each box: [18, 2], x and y in pixels.

        NaN where one is not found in the image; OpenPose finds none beyond its edges. boxes: see `RTDetr.people`.
        """
        import torch

        from inpainting.networks.transformers_models import run_model

        model, processor = loaded
        image = Image.fromarray(pixels)
        inputs = processor(images=image, boxes=[boxes], return_tensors="pt", input_data_format="channels_last")
        output = run_model(model, model, **inputs, dataset_index=torch.full((len(boxes),), COCO))
        (found,) = processor.post_process_pose_estimation(output, [boxes])
        height, width = pixels.shape[:2]
        people = []
        for person in found:
            points, scores = person["keypoints"].numpy(), person["scores"].numpy()
            is_inside = ((points >= 0) & (points <= (width - 1, height - 1))).all(axis=1)
            people.append(openpose_points(points, is_inside & (scores > MIN_SCORE)))
        return people


VITPOSE = VitPose()
