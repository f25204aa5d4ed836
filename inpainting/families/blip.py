"""BLIP: describes an image in words (J. Li et al., ICML 2022)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import CAPTIONS, ModelFamily
from inpainting.families.layouts import TOKENIZER_FILES, TransformersLayout

BLIP = register(
    ModelFamily(
        name="blip",
        label="BLIP",
        engine=CAPTIONS,
        layout=TransformersLayout(
            model_types=("blip",), model_class="BlipForConditionalGeneration", more_files=TOKENIZER_FILES
        ),
        implementation="inpainting.captioning.blip:BLIP",
    )
)
