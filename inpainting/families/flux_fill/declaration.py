"""FLUX.1 Fill [dev]: FLUX.1 trained to fill a mask."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.flux.declaration import REDUX, flux_family

FLUX_FILL = register(
    flux_family(
        name="flux-fill",
        label="FLUX.1 Fill",
        implementation="inpainting.families.flux_fill.network:FluxFill",
        pipelines=("FluxFillPipeline",),
        pipeline_class="FluxFillPipeline",
        channels=16 + 16 + 64,  # of the image, of its kept part, and the pixels of the mask
        # As on its model card.
        steps=50,
        guidance_scale=30.0,
        fills=True,
        image_prompts=REDUX,
    )
)
