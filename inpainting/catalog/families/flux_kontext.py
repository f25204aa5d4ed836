"""FLUX.1 Kontext [dev]: FLUX.1 trained to edit an image by instructions (arXiv 2506.15742)."""

from __future__ import annotations

from dataclasses import replace

from inpainting.catalog.families import register
from inpainting.catalog.families.flux_fill import FLUX_FILL, FLUX_LAYOUT

FLUX_KONTEXT = register(
    replace(
        FLUX_FILL,
        name="flux-kontext",
        label="FLUX.1 Kontext",
        layout=replace(
            FLUX_LAYOUT,
            pipelines=("FluxKontextPipeline", "FluxKontextInpaintPipeline"),
            checkpoint_channels=4 * 16,  # as of FLUX.1 [dev]: the source image is tokens of its own
        ),
        implementation="inpainting.engines.diffusion.families.flux_kontext:FluxKontext",
        pipeline_class="FluxKontextInpaintPipeline",
        # The scale of its model card; the steps of diffusers' pipeline.
        defaults={**FLUX_FILL.defaults, "steps": 28, "guidance_scale": 2.5},
    )
)
