"""U²-Net, which finds the main object (X. Qin et al., Pattern Recognition 2020), as rembg publishes it."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.layouts import ANY_NAME, OnnxLayout

LAYOUT = OnnxLayout(
    element_type=(1, "float32"),
    inputs={ANY_NAME: 3},
    refusals={
        "InstanceNormalization": "normalises each image by itself, as MODNet does, and no U²-Net, IS-Net or "
        "BiRefNet. Those networks take images in another size and range"
    },
)
"""Of all families of U²-Net, IS-Net and BiRefNet. MODNet has the same input and output; its masks would have holes.

Of BiRefNet, with each of its backbones: github.com/ZhengPeng7/BiRefNet, models/, has batch and layer norms alone."""

U2NET = register(
    ModelFamily(
        name="u2net",
        label="U²-Net",
        engine=SEGMENTATION,
        layout=LAYOUT,
        implementation="inpainting.segmenters.networks.salient_objects:U2NET",
    )
)
