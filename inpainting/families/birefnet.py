"""BiRefNet: bilateral reference for high-resolution segmentation (P. Zheng et al., CAAI AIR 2024)."""

from __future__ import annotations

from inpainting.catalog.families import SEGMENTATION, ModelFamily, register
from inpainting.catalog.families.u2net import LAYOUT

BIREFNET = register(
    ModelFamily(
        name="birefnet",
        label="BiRefNet",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:BIREFNET",
    )
)
