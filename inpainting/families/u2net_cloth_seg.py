"""U²-Net trained on garments: upper body, lower body, full body (github.com/levindabhi/cloth-segmentation)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.u2net import LAYOUT

CLOTHES = register(
    ModelFamily(
        name="u2net-cloth-seg",
        label="U²-Net for garments",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:CLOTHES",
    )
)
