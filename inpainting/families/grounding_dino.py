"""Grounding DINO: finds boxes by words (S. Liu et al., ECCV 2024). A model of the family sam outlines them."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.layouts import TOKENIZER_FILES, TransformersLayout

GROUNDING_DINO = register(
    ModelFamily(
        name="grounding-dino",
        label="Grounding DINO",
        engine=SEGMENTATION,
        layout=TransformersLayout(
            model_types=("grounding-dino",), model_class="GroundingDinoForObjectDetection", more_files=TOKENIZER_FILES
        ),
        implementation="inpainting.segmenters.networks.by_words:GROUNDING_DINO",
    )
)
