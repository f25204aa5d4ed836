"""FLUX.1 Kontext [dev]: FLUX.1 trained to edit an image by instructions (arXiv 2506.15742)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.flux.declaration import flux_family

FLUX_KONTEXT = register(
    flux_family(
        name="flux-kontext",
        label="FLUX.1 Kontext",
        implementation="inpainting.families.flux_kontext.network:FluxKontext",
        pipelines=("FluxKontextPipeline", "FluxKontextInpaintPipeline"),
        pipeline_class="FluxKontextInpaintPipeline",
        edits=True,
        max_reference_images=4,
        channels=16,  # as of FLUX.1 [dev]: the source image is tokens of its own
        # The scale of its model card; the steps of diffusers' pipeline.
        steps=28,
        guidance_scale=2.5,
    )
)
