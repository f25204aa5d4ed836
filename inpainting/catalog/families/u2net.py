"""U²-Net, which finds the main object (X. Qin et al., Pattern Recognition 2020), as rembg publishes it."""

from __future__ import annotations

from inpainting.catalog.families import ANY_NAME, SEGMENTATION, ModelFamily, OnnxLayout, register

U2NET = register(
    ModelFamily(
        name="u2net",
        label="U²-Net",
        engine=SEGMENTATION,
        layout=OnnxLayout(element_type=(1, "float32"), inputs={ANY_NAME: 3}),
        implementation="inpainting.segmenters.networks.salient_objects:U2NET",
    )
)
