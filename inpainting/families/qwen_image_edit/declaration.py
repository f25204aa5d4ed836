"""Qwen-Image-Edit 2509 and 2511: Qwen-Image trained to edit an image by instructions, beside reference images."""

from __future__ import annotations

from dataclasses import replace

from inpainting.families import register
from inpainting.families.layouts import Component
from inpainting.families.qwen_image.declaration import LAYOUT, QWEN_IMAGE

QWEN_IMAGE_EDIT = register(
    replace(
        QWEN_IMAGE,  # LoRAs too: theirs have the same layers and names
        name="qwen-image-edit",
        label="Qwen-Image-Edit",
        layout=replace(
            LAYOUT,
            component_file="inpainting.families.qwen_image.files:QwenImageFile",
            file_channels=64,
            pipelines=("QwenImageEditPlusPipeline",),
            components={
                **LAYOUT.components,
                "processor": Component(("transformers.Qwen2VLProcessor", "transformers.Qwen2_5_VLProcessor")),
            },
        ),
        implementation="inpainting.families.qwen_image_edit.network:QwenImageEdit",
        pipeline_class="QwenImageEditPlusPipeline",
        # Its video processor needs torchvision; the network loads the image processor alone.
        pipeline_arguments={"processor": None},
        controlnet=None,
        edits=True,
        max_reference_images=3,
        # Steps and guidance as on its model cards.
        defaults={**QWEN_IMAGE.defaults, "steps": 40, "strength": 1.0},
    )
)
