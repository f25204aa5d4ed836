"""IS-Net, which finds the main object with fine edges (X. Qin et al., ECCV 2022)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.u2net import LAYOUT

ISNET = register(
    ModelFamily(
        name="isnet",
        label="IS-Net",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:ISNET",
    )
)
