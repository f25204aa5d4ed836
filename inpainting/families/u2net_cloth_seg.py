"""U²-Net trained on garments: upper body, lower body, full body (github.com/levindabhi/cloth-segmentation)."""

from __future__ import annotations

from inpainting.catalog.families import SEGMENTATION, ModelFamily, register
from inpainting.catalog.families.u2net import LAYOUT

CLOTHES = register(
    ModelFamily(
        name="u2net-cloth-seg",
        label="U²-Net for garments",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:CLOTHES",
    )
)
