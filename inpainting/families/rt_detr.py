"""RT-DETR: finds the boxes of objects (Y. Zhao et al., CVPR 2024). Here those of people, for a model of poses."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import PREPROCESSING, ModelFamily
from inpainting.families.layouts import TransformersLayout

RT_DETR = register(
    ModelFamily(
        name="rt-detr",
        label="RT-DETR",
        engine=PREPROCESSING,
        layout=TransformersLayout(model_types=("rt_detr",), model_class="RTDetrForObjectDetection"),
        implementation="inpainting.preprocessors.rt_detr:RT_DETR",
    )
)
