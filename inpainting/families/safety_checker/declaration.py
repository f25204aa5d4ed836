"""The Stable Diffusion safety checker: CLIP ViT-L/14 and seventeen concepts that it compares an image with."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import MODERATION, ModelFamily
from inpainting.families.layouts import OwnLayout

SAFETY_CHECKER = register(
    ModelFamily(
        name="safety-checker",
        label="Safety checker",
        engine=MODERATION,
        layout=OwnLayout(
            check="inpainting.families.safety_checker.files:check_safety_checker",
            needed_files="inpainting.families.safety_checker.files:safety_checker_files",
        ),
        defaults={"width": 224, "height": 224},
    )
)
