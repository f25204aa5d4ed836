"""U²-Net, which finds the main object (X. Qin et al., Pattern Recognition 2020), as rembg publishes it."""

from __future__ import annotations

from inpainting.core.sentences import sentence
from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.layouts import ANY_NAME, OnnxLayout

LAYOUT = OnnxLayout(
    element_type=(1, "float32"),
    inputs={ANY_NAME: 3},
    refusals={
        "InstanceNormalization": sentence(
            "normalises each image by itself, as MODNet does, and no U²-Net, IS-Net or BiRefNet. Those networks take "
            "images in another size and range"
        )
    },
)
"""The layout of all families of U²-Net, IS-Net and BiRefNet. MODNet has the same input and output, and its masks would
have holes. BiRefNet has batch and layer norms alone with each backbone (github.com/ZhengPeng7/BiRefNet, models/)."""

U2NET = register(
    ModelFamily(
        name="u2net",
        label="U²-Net",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:U2NET",
    )
)
