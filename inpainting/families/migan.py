"""MI-GAN: a generative adversarial network for phones, one ONNX file (A. Sargsyan et al., ICCV 2023)."""

from __future__ import annotations

from inpainting.core.setting import ERASE
from inpainting.families import register
from inpainting.families.declaration import ModelFamily
from inpainting.families.layouts import OnnxLayout

MIGAN = register(
    ModelFamily(
        name="migan",
        label="MI-GAN",
        engine=ERASE,
        layout=OnnxLayout(element_type=(2, "uint8"), other_names=r"mi[-_]?gan"),
        implementation="inpainting.engines.erase.network_inputs:migan_inputs",
        defaults={"width": 512, "height": 512},
        graph_scales=True,
        is_chosen_by_auto=False,  # it invents objects more often than quick-fill, see docs/use/models.md
    )
)
