"""IS-Net, which finds the main object with fine edges (X. Qin et al., ECCV 2022)."""

from __future__ import annotations

from inpainting.catalog.families import SEGMENTATION, ModelFamily, register
from inpainting.catalog.families.u2net import LAYOUT

ISNET = register(
    ModelFamily(
        name="isnet",
        label="IS-Net",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:ISNET",
    )
)
