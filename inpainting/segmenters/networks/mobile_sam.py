"""Loaded MobileSAM models: the encoder of an image, and the decoder of points and boxes on it.

Inputs, labels of points and scaling of the masks as in SAM's export to ONNX (segment-anything, Apache-2.0:
scripts/export_onnx_model.py, notebooks/onnx_model_example.ipynb). The encoder normalises and pads the image itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.networks.onnx_sessions import open_session, run_for_outputs
from inpainting.segmenters.base import Candidate, Selection
from inpainting.segmenters.networks.fed_images import Embeddings, fed_size, is_ambiguous, mask_of, remove_padding

RGB = NDArray[np.uint8]
SIDE = 1024
"""Of the square that the encoder pads the image to, in pixels."""
ENCODER, DECODER = "mobile_sam_image_encoder.onnx", "sam_mask_decoder_multi.onnx"
BESIDE, ON, TOP_LEFT, BOTTOM_RIGHT, NO_BOX = 0, 1, 2, 3, -1
"""Labels of points."""


class MobileSam:
    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        check_model(folder, spec.family)
        self.label = spec.label
        self.encoder, self.decoder = (open_session(spec, folder / name) for name in (ENCODER, DECODER))
        self._embeddings = Embeddings()

    def outline(self, pixels: RGB, selections: Sequence[Selection], *, max_masks: int = 3) -> list[list[Candidate]]:
        """The masks of RGB [height, width, 3] for each selection, best rated first. Raises EngineFailed."""
        embedding = self._embeddings.of(pixels, self.embed)
        return [self.decoded(embedding, selection, pixels.shape, max_masks) for selection in selections]

    def embed(self, pixels: RGB) -> NDArray[Any]:
        """[1, 256, 64, 64]. Raises InvalidRequest for an image that is too thin."""
        height, width = fed_size(pixels.shape[0], pixels.shape[1], SIDE)
        scaled = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        feeds = {"input_image": np.asarray(scaled, np.float32)}
        return run_for_outputs(self.encoder, self.label, feeds, ["image_embeddings"])[0]

    def decoded(
        self, embedding: NDArray[Any], selection: Selection, shape: tuple[int, ...], max_masks: int
    ) -> list[Candidate]:
        """The best masks of an image of that shape, [height, width, …], from its embedding."""
        fed = fed_size(shape[0], shape[1], SIDE)
        points, labels = prompts(selection, fed[1] / shape[1], fed[0] / shape[0])
        feeds = {
            "image_embeddings": embedding,
            "point_coords": points,
            "point_labels": labels,
            "mask_input": np.zeros((1, 1, SIDE // 4, SIDE // 4), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(fed, np.float32),  # of `masks`, which is not used
        }
        scores, logits = run_for_outputs(self.decoder, self.label, feeds, ["iou_predictions", "low_res_masks"])
        if not (np.isfinite(scores).all() and np.isfinite(logits).all()):
            raise EngineFailed(
                sentence("The model {label} returned values that are not finite.", label=self.label),
                code="model_produced_invalid_output",
            )
        fitting = slice(1, None) if is_ambiguous(selection) else slice(1)  # the first is for several points and boxes
        rated, found = scores[0, fitting], logits[0, fitting]
        return [
            Candidate(
                mask_of(remove_padding(found[index], SIDE, fed), shape[0], shape[1]),
                min(1.0, max(0.0, float(rated[index]))),
            )
            for index in np.argsort(-rated, kind="stable")[:max_masks].tolist()
        ]


def prompts(selection: Selection, across: float, down: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points [1, count, 2] in pixels of the encoder's image, and their labels [1, count]."""
    marked = [(point.x, point.y, ON if point.is_object else BESIDE) for point in selection.points]
    if (box := selection.box) is None:
        marked.append((0, 0, NO_BOX))
    else:
        marked += [(box.left, box.top, TOP_LEFT), (box.right, box.bottom, BOTTOM_RIGHT)]
    values = np.array([marked], np.float32)
    return values[:, :, :2] * np.array([across, down], np.float32), values[:, :, 2]
