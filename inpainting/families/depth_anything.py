"""Depth Anything: estimates how near everything in a photo is (L. Yang et al., NeurIPS 2024)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import PREPROCESSING, ModelFamily
from inpainting.families.layouts import TransformersLayout

DEPTH_ANYTHING = register(
    ModelFamily(
        name="depth-anything",
        label="Depth Anything",
        engine=PREPROCESSING,
        layout=TransformersLayout(model_types=("depth_anything",), model_class="DepthAnythingForDepthEstimation"),
        implementation="inpainting.preprocessors.depth_anything:DEPTH_ANYTHING",
        computes="depth",
    )
)
