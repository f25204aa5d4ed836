"""IS-Net, which finds the main object with fine edges (X. Qin et al., ECCV 2022)."""

from __future__ import annotations

from inpainting.catalog.families import ANY_NAME, SEGMENTATION, ModelFamily, OnnxLayout, register

ISNET = register(
    ModelFamily(
        name="isnet",
        label="IS-Net",
        engine=SEGMENTATION,
        layout=OnnxLayout(element_type=(1, "float32"), inputs={ANY_NAME: 3}),
        implementation="inpainting.segmenters.networks.salient_objects:ISNET",
    )
)
