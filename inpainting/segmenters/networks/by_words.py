"""Objects by words: Grounding DINO finds boxes, an installed SAM outlines what is in them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage
from inpainting.core.sentences import sentence
from inpainting.families.declaration import SEGMENTATION
from inpainting.segmenters.base import MAX_BOXES, Candidate, Detection, Hint, Selection
from inpainting.segmenters.networks.catalog_segmenter import CatalogSegmenter, installed
from inpainting.segmenters.networks.promptable import Promptable

FoundBox = tuple[float, tuple[float, float, float, float]]
"""(score, (left, top, right, bottom)) in pixels."""


@dataclass(frozen=True, slots=True)
class ByWords:
    reads: frozenset[Hint] = frozenset({Hint.WORDS})
    needs: frozenset[Hint] = frozenset({Hint.WORDS})

    def load(self, spec: ModelSpec, path: Path) -> Any:
        """Raises EngineFailed: `model_refused`, `model_unavailable`."""
        from inpainting.segmenters.networks.detector_models import Detector

        return Detector(spec, path)

    def candidates(self, loaded: Any, spec: ModelSpec, image: CanonicalImage, selection: Selection) -> list[Candidate]:
        """One mask of what the words name, of MAX_BOXES finds at most, with the best one's score; empty without finds.

        Raises InvalidRequest, `model_unavailable`, where no SAM is installed, and EngineFailed.
        """
        detection = selection.detection
        outliner = next(iter(self.others(selection)), None)
        pixels = to_rgb8(image)
        found = sorted(loaded.find(pixels, selection.words, detection), key=lambda scored: -scored[0])
        boxes = boxes_of(found, detection, image.size)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        if outliner is None:
            for box in boxes:
                mask[box.slices] = 255
        elif boxes:
            for (best,) in outliner.loaded().outline(pixels, [Selection(box=box) for box in boxes], max_masks=1):
                mask |= best.mask
        return [Candidate(mask, found[0][0] if found else None)]

    def others(self, selection: Selection) -> list[CatalogSegmenter]:
        """The model that outlines. Raises InvalidRequest, `model_unavailable`, where no SAM is installed."""
        detection = selection.detection
        return [] if detection.shows_boxes else [find_outliner(detection.outliner)]


GROUNDING_DINO = ByWords()


def boxes_of(found: list[FoundBox], detection: Detection, size: Size) -> list[Box]:
    """The pixels of the best finds, moved outwards by `dilate` and clipped; those that vanish are left out."""
    boxes = []
    for _, (left, top, right, bottom) in found[: detection.max_detections or MAX_BOXES]:
        dilate = detection.dilate
        edges = (left - dilate, top - dilate, right + dilate, bottom + dilate)
        low_x, high_x = (int(min(max(edge, 0), size.width)) for edge in (edges[0], np.ceil(edges[2])))
        low_y, high_y = (int(min(max(edge, 0), size.height)) for edge in (edges[1], np.ceil(edges[3])))
        if high_x > low_x and high_y > low_y:
            boxes.append(Box(low_x, low_y, high_x, high_y))
    return boxes


def find_outliner(name: str) -> CatalogSegmenter:
    """The model of that name, or the first installed one, that outlines what is in a box.

    Raises InvalidRequest, `model_unavailable`, with the command that installs one.
    """
    catalog = Catalog()
    if name:
        row = catalog.find_tool(name, SEGMENTATION)
        if row is not None:
            return CatalogSegmenter(row.spec, is_installed=row.is_installed)
    outliner = next((segmenter for segmenter in installed(catalog) if isinstance(segmenter.networks, Promptable)), None)
    if outliner is None:
        raise InvalidRequest(
            sentence(
                "No model that outlines objects is installed; “python manage.py pull_model slimsam” gets a small one."
            ),
            code="model_unavailable",
            field="segmenter",
        )
    return outliner
