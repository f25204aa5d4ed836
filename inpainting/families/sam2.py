"""Segment Anything 2: outlines what is under points or in a box (N. Ravi et al. 2024, arXiv 2408.00714)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.layouts import TransformersLayout

SAM2 = register(
    ModelFamily(
        name="sam2",
        label="Segment Anything 2",
        engine=SEGMENTATION,
        # The published ones are saved for videos; the parts that only videos need are not loaded.
        layout=TransformersLayout(model_types=("sam2", "sam2_video"), model_class="Sam2Model"),
        implementation="inpainting.segmenters.networks.promptable:SAM2",
    )
)
