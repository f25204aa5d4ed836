"""The Stable Diffusion safety checker: CLIP ViT-L/14 and seventeen concepts that it compares an image with."""

from __future__ import annotations

from inpainting.catalog.families import MODERATION, ModelFamily, SafetyCheckerLayout, register

SAFETY_CHECKER = register(
    ModelFamily(
        name="safety-checker",
        label="Safety checker",
        engine=MODERATION,
        layout=SafetyCheckerLayout(),
        defaults={"width": 224, "height": 224},
    )
)
