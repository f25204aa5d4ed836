"""U²-Net trained on garments: upper body, lower body, full body (github.com/levindabhi/cloth-segmentation)."""

from __future__ import annotations

from inpainting.catalog.families import ANY_NAME, SEGMENTATION, ModelFamily, OnnxLayout, register

CLOTHES = register(
    ModelFamily(
        name="u2net-cloth-seg",
        label="U²-Net for garments",
        engine=SEGMENTATION,
        layout=OnnxLayout(element_type=(1, "float32"), inputs={ANY_NAME: 3}),
        implementation="inpainting.segmenters.networks.salient_objects:CLOTHES",
    )
)
