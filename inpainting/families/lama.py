"""LaMa: Fourier convolutions, one ONNX file (R. Suvorov et al., WACV 2022)."""

from __future__ import annotations

from inpainting.core.setting import ERASE
from inpainting.families import register
from inpainting.families.declaration import ModelFamily
from inpainting.families.layouts import OnnxLayout

LAMA = register(
    ModelFamily(
        name="lama",
        label="LaMa",
        engine=ERASE,
        layout=OnnxLayout(element_type=(1, "float32"), other_names=r"(big|anime)[-_]?(manga[-_]?)?(big[-_]?)?lama"),
        implementation="inpainting.engines.erase.network_inputs:lama_inputs",
        defaults={"width": 512, "height": 512},
    )
)
