"""Upscalers of any architecture in one ONNX file: RGB of 0 to 1 in, the same larger out."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import UPSCALING, ModelFamily
from inpainting.families.layouts import ANY_NAME, OnnxLayout

ONNX_UPSCALER = register(
    ModelFamily(
        name="onnx-upscaler",
        label="ONNX upscaler",
        engine=UPSCALING,
        layout=OnnxLayout(element_type=(1, "float32"), inputs={ANY_NAME: 3}, output_channels=3),
        implementation="inpainting.upscalers.networks.onnx_upscaler:ONNX_UPSCALER",
    )
)
