"""Segment Anything: outlines what is under points or in a box (A. Kirillov et al., ICCV 2023). SlimSAM is one."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.layouts import TransformersLayout

SAM = register(
    ModelFamily(
        name="sam",
        label="Segment Anything",
        engine=SEGMENTATION,
        layout=TransformersLayout(model_types=("sam",), model_class="SamModel"),
        implementation="inpainting.segmenters.networks.promptable:SAM",
    )
)
