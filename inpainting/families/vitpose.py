"""ViTPose: finds the joints of a person in a box (Y. Xu et al., NeurIPS 2022)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import PREPROCESSING, ModelFamily
from inpainting.families.layouts import TransformersLayout

VITPOSE = register(
    ModelFamily(
        name="vitpose",
        label="ViTPose",
        engine=PREPROCESSING,
        layout=TransformersLayout(model_types=("vitpose",), model_class="VitPoseForPoseEstimation"),
        implementation="inpainting.preprocessors.vitpose:VITPOSE",
        computes="openpose",
        needs=("rt-detr",),
    )
)
