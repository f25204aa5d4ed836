"""IS-Net trained on drawn characters (github.com/SkyTNT/anime-segmentation)."""

from __future__ import annotations

from inpainting.catalog.families import ANY_NAME, SEGMENTATION, ModelFamily, OnnxLayout, register

ISNET_ANIME = register(
    ModelFamily(
        name="isnet-anime",
        label="IS-Net for drawings",
        engine=SEGMENTATION,
        layout=OnnxLayout(element_type=(1, "float32"), inputs={ANY_NAME: 3}),
        implementation="inpainting.segmenters.networks.salient_objects:ISNET_ANIME",
    )
)
