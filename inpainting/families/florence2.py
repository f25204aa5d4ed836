"""Florence-2: describes an image in words (B. Xiao et al., CVPR 2024)."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import CAPTIONS, ModelFamily
from inpainting.families.layouts import TOKENIZER_FILES, TransformersLayout

FLORENCE2 = register(
    ModelFamily(
        name="florence2",
        label="Florence-2",
        engine=CAPTIONS,
        layout=TransformersLayout(
            model_types=("florence2",),
            model_class="Florence2ForConditionalGeneration",
            more_files=(*TOKENIZER_FILES, "generation_config.json"),
        ),
        implementation="inpainting.captioning.florence2:FLORENCE2",
    )
)
