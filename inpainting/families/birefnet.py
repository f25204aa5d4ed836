"""BiRefNet: bilateral reference for high-resolution segmentation (P. Zheng et al., CAAI AIR 2024)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.u2net import LAYOUT

BIREFNET = register(
    ModelFamily(
        name="birefnet",
        label="BiRefNet",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:BIREFNET",
    )
)
