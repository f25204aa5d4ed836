"""IS-Net trained on drawn characters (github.com/SkyTNT/anime-segmentation)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.u2net import LAYOUT

ISNET_ANIME = register(
    ModelFamily(
        name="isnet-anime",
        label="IS-Net for drawings",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:ISNET_ANIME",
    )
)
