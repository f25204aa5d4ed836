"""BiRefNet: bilateral reference for high-resolution segmentation (P. Zheng et al., CAAI AIR 2024)."""

from __future__ import annotations

from inpainting.catalog.families import ANY_NAME, SEGMENTATION, ModelFamily, OnnxLayout, register

BIREFNET = register(
    ModelFamily(
        name="birefnet",
        label="BiRefNet",
        engine=SEGMENTATION,
        layout=OnnxLayout(element_type=(1, "float32"), inputs={ANY_NAME: 3}),
        implementation="inpainting.segmenters.networks.salient_objects:BIREFNET",
    )
)
