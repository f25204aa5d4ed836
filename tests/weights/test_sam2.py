"""The published SAM 2 as ONNX behind our own steps: feeding, prompts, the choice and the scaling of masks.

Transformers cannot load these files, so its implementation of the network is not tested here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

pytest.importorskip("torch", reason="the diffusion engine is not installed")

import onnxruntime
import torch

from inpainting.segmenters.base import Point, Selection
from inpainting.segmenters.networks.fed_images import Embeddings
from inpainting.segmenters.networks.sam_models import Sam2
from tests.weights.drawn import COFFEE, SPOON, Outline, overlap
from tests.weights.published import PublishedFile

pytestmark = pytest.mark.weights


class PublishedSam2(Sam2):
    """The steps of `Sam2` with an encoder and a decoder that onnxruntime runs."""

    def __init__(self, encoder: Path, decoder: Path) -> None:
        self.label, self.side = "SAM 2 Hiera tiny", 1024
        self.encoder, self.decoder = (onnxruntime.InferenceSession(path) for path in (encoder, decoder))
        self.model = Mock(side_effect=self.decode, device=torch.device("cpu"))
        self._embeddings = Embeddings()

    def embed(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        names = [output.name for output in self.encoder.get_outputs()]
        return dict(zip(names, self.encoder.run(names, {"image": self.tensor(pixels).numpy()}), strict=True))

    def decode(
        self,
        *,
        image_embeddings: Mapping[str, NDArray[Any]],
        multimask_output: bool,
        input_points: torch.Tensor,
        input_labels: torch.Tensor,
    ) -> SimpleNamespace:
        assert multimask_output
        feeds = {
            **image_embeddings,
            "point_coords": input_points[0].numpy(),
            "point_labels": input_labels[0].float().numpy(),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
        }
        masks, scores = (torch.from_numpy(output) for output in self.decoder.run(["masks", "iou_predictions"], feeds))
        return SimpleNamespace(pred_masks=masks[None], iou_scores=scores[None])


@pytest.fixture(scope="module")
def sam2(published_file: PublishedFile) -> PublishedSam2:
    return PublishedSam2(published_file("sam2-hiera-tiny-encoder"), published_file("sam2-hiera-tiny-decoder"))


@pytest.mark.parametrize(
    ("point", "outline", "least"),
    [(Point(390, 280), SPOON, 0.85), (Point(290, 140), COFFEE, 0.6)],
    ids=["spoon", "coffee"],
)
def test_a_click_selects_what_is_under_it(sam2: PublishedSam2, point: Point, outline: Outline, least: float) -> None:
    """The photo is wider than high, so a click that is scaled in another way than the image misses."""
    (found,) = sam2.outline(data.coffee(), [Selection(points=(point,))])
    assert overlap(found[0].mask, outline) > least
    scores = [candidate.score for candidate in found]
    assert scores[0] is not None
    assert scores[0] > 0.75
    assert scores == sorted(scores, key=lambda score: -(score or 0))
