"""FLUX.1 [dev] and the models of its architecture, FLUX.1 Krea and [schnell]: trained on prompts alone."""

from __future__ import annotations

from inpainting.core.settings_table import DEFAULT_STRENGTH
from inpainting.families import register
from inpainting.families.declaration import ControlNetSupport
from inpainting.families.flux.declaration import REDUX, flux_family

FLUX_DEV = register(
    flux_family(
        name="flux-dev",
        label="FLUX.1 [dev]",
        implementation="inpainting.families.flux_dev.network:FluxDev",
        pipelines=("FluxPipeline", "FluxInpaintPipeline", "FluxImg2ImgPipeline"),
        pipeline_class="FluxInpaintPipeline",
        channels=16,
        # The scale of its model card; the steps of diffusers' pipeline.
        steps=28,
        guidance_scale=3.5,
        strength=DEFAULT_STRENGTH,  # at 1 it sees nothing of what it repaints
        image_prompts=REDUX,
        controlnet=ControlNetSupport(
            class_name="FluxControlNetModel",
            network="inpainting.families.flux_dev.controlnet:FluxControlNetModel",
            # Those of Qwen-Image have the first one too, and no embedding of CLIP's features.
            tensors=(r"\Acontrolnet_x_embedder\.", r"\Atime_text_embed\.text_embedder\."),
            configuration="inpainting.families.flux_dev.controlnet_files:configuration",
            # Of InstantX's and Shakker Labs', as on their model cards.
            kinds=frozenset({"canny", "depth", "openpose", "softedge", "tile"}),
        ),
    )
)
