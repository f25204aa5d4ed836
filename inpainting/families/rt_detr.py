"""RT-DETR: finds the boxes of objects (Y. Zhao et al., CVPR 2024). Here those of people, for a model of poses."""

from __future__ import annotations

from inpainting.catalog.families import PREPROCESSING, ModelFamily, TransformersLayout, register

RT_DETR = register(
    ModelFamily(
        name="rt-detr",
        label="RT-DETR",
        engine=PREPROCESSING,
        layout=TransformersLayout(model_types=("rt_detr",), model_class="RTDetrForObjectDetection"),
        implementation="inpainting.preprocessors.rt_detr:RT_DETR",
    )
)
