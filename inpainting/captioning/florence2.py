"""Captions by Florence-2. torch is imported with the first model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec

TASK = "<CAPTION>"
"""One sentence; the detailed descriptions begin with “The image shows”, which is no prompt."""
MAX_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Florence2:
    def load(self, spec: ModelSpec, path: Path) -> Any:
        """The model and its processor. Raises EngineFailed: `model_refused`, `model_unavailable`."""
        from transformers import AutoTokenizer, Florence2Processor
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        from inpainting.networks.transformers_models import load_model, load_processor, loading

        model = load_model(spec, path)
        images = load_processor(spec, CLIPImageProcessorPil, path)
        tokenizer = load_processor(spec, AutoTokenizer, path)
        with loading(spec):
            return model, Florence2Processor(images, tokenizer)

    def caption(self, loaded: Any, spec: ModelSpec, pixels: NDArray[np.uint8], beginning: str) -> str:
        """A sentence about RGB [height, width, 3], put after these words, by beam search: always the same."""
        from inpainting.networks.transformers_models import run_model

        model, processor = loaded
        inputs = processor(images=pixels, text=TASK, return_tensors="pt", input_data_format="channels_last")
        tokens = run_model(model, model.generate, **inputs, max_new_tokens=MAX_TOKENS, num_beams=3, do_sample=False)
        sentence = str(processor.decode(tokens[0], skip_special_tokens=True)).strip().rstrip(".")
        return f"{beginning} of {sentence[:1].lower()}{sentence[1:]}" if sentence else beginning


FLORENCE2 = Florence2()
